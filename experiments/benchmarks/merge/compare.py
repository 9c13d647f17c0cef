"""Runs the programs in turns and prints what they took; see run.sh."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

build, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
rounds, counts, dtypes, mib = int(sys.argv[3]), sys.argv[4].split(), sys.argv[5].split(), sys.argv[6]
here = pathlib.Path(__file__).parent
scripts = pathlib.Path(sys.executable).parent
threads = len(os.sched_getaffinity(0))


def run(command):
    """Seconds and peak resident MiB of one program, start-up included."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"{command} failed:\n{errors.decode()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def mergekit_recipe(inputs, dtype):
    models = "".join(f"  - model: {path}\n    parameters:\n      weight: 1.0\n" for path in inputs)
    recipe = work / "mergekit.yaml"
    recipe.write_text(f"merge_method: linear\nmodels:\n{models}dtype: {dtype}\n")
    return recipe


def programs(inputs, dtype):
    """Name -> command. All write the inputs' number type."""
    soup = [build / "soup", "merge", *inputs, "--output", work / "soup.safetensors", "--dtype", "input"]
    torch_name = {"f32": "float32", "bf16": "bfloat16"}[dtype]
    return {
        "plain copies (ceiling)": [build / "soup_bench_copies", work / "copies.bin", threads, *inputs],
        "soup merge --no-digests --no-sync": [*soup, "--no-digests", "--no-sync"],
        "soup merge": soup,
        "torch.stack().mean(0)": [sys.executable, here / "stack_mean.py", work / "mean.safetensors", *inputs],
        "mergekit-pytorch linear": [scripts / "mergekit-pytorch", mergekit_recipe(inputs, torch_name), work / "mergekit"],
    }


def touch_free_memory(gib):
    """A virtual machine's host takes free memory back after seconds, and who touches it first waits for it: here, nobody."""
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    size = min(gib * 2**30, max(0, available - 2**20) * 2**10)
    subprocess.run([sys.executable, "-c", "import sys; b'1' * int(sys.argv[1])", str(size)], check=True)


def clean():
    for path in work.iterdir():
        if path.name in ("soup.safetensors", "copies.bin", "mean.safetensors", "mergekit"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


print(f"{threads} threads, {rounds} rounds, files of {mib} MiB in {work.parent}\n")
print("| models | program | min s | median s | against soup | peak MiB |")
print("| --- | --- | --- | --- | --- | --- |")
for dtype in dtypes:
    for count in counts:
        subprocess.run([sys.executable, here / "make_inputs.py", work / "in", count, dtype, mib], check=True)
        inputs = sorted((work / "in").glob("*.safetensors"))
        seconds, peaks = {}, {}
        for _ in range(rounds):
            for name, command in programs(inputs, dtype).items():
                touch_free_memory(int(count) + 3)  # what the largest of them takes
                taken, peak = run(command)
                seconds.setdefault(name, []).append(taken)
                peaks[name] = max(peaks.get(name, 0.0), peak)
                clean()
        soup = statistics.median(seconds["soup merge --no-digests --no-sync"])
        for name, taken in seconds.items():
            median = statistics.median(taken)
            print(f"| {count} {dtype} | {name} | {min(taken):.2f} | {median:.2f} | {median / soup:.2f} | {peaks[name]:.0f} |", flush=True)
        shutil.rmtree(work / "in")

print("\nStart-up (median of 20):")
for name, command in {
    "soup merge --help": [build / "soup", "merge", "--help"],
    "mergekit-pytorch --help": [scripts / "mergekit-pytorch", "--help"],
    "python -c 'import torch, safetensors'": [sys.executable, "-c", "import torch, safetensors"],
}.items():
    taken = [run(command)[0] for _ in range(20)]
    print(f"{name}: {1000 * statistics.median(taken):.0f} ms")
