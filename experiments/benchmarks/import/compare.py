"""Runs the imports in turns and prints what they took; see run.sh."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

build, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
rounds, counts, side, resolution = int(sys.argv[3]), sys.argv[4].split(), sys.argv[5], sys.argv[6]
here = pathlib.Path(__file__).parent
threads = len(os.sched_getaffinity(0))


def tree(root):
    """A process and all below it."""
    found = [root]
    for process in found:
        for task in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found.extend(int(word) for word in task.read_text().split())
            except OSError:
                pass
    return found


def resident(root):
    """MiB of memory of the process itself, and of it and all below it; shared pages count in parts (PSS)."""
    sums = []
    for process in tree(root):
        try:
            text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
            sums.append(next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024)
        except (OSError, StopIteration):
            sums.append(0.0)
    return sums[0], sum(sums)


def run(command):
    """Seconds by the clock and of processors, and the two peaks of memory, asked for five times a second."""
    begin = time.perf_counter()
    with open(work / "errors", "wb") as errors:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=errors)
        alone, all_of_it = 0.0, 0.0
        ended, status, usage = 0, 0, None
        while ended == 0:
            one, every = resident(process.pid)
            alone, all_of_it = max(alone, one), max(all_of_it, every)
            time.sleep(0.2)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)  # its workers', which it waited for, included
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed:\n{(work / 'errors').read_text()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, alone, all_of_it


def programs():
    tars = sorted((work / "in" / "tars").glob("*.tar"))
    common = ["--resolution", resolution, "--workers", threads, "--output", work / "out.h5"]
    return {
        "soup import webdataset": [build / "soup", "import", "webdataset", work / "in/tars/*.tar", *common],
        "soup import folder": [build / "soup", "import", "folder", work / "in/photos", *common],
        "Pillow, webdataset, h5py": [sys.executable, here / "peer.py", work / "out.h5", resolution, threads, *tars],
    }


print(f"{threads} threads, {rounds} rounds, JPEGs of {side} x {int(side) * 3 // 4} to {resolution} x {resolution}\n")
print("| images | program | images/s, best | images/s, median | processor ms an image, best | its own MiB | MiB with its workers |")
print("| --- | --- | --- | --- | --- | --- | --- |")
for count in counts:
    made = subprocess.run([sys.executable, here / "make_inputs.py", work / "in", count, side], check=True, capture_output=True)
    seconds, busy, alone, all_of_it = {}, {}, {}, {}
    for _ in range(rounds):
        for name, command in programs().items():
            taken, used, one, every = run(command)
            seconds.setdefault(name, []).append(taken)
            busy[name] = min(busy.get(name, used), used)
            alone[name] = max(alone.get(name, 0.0), one)
            all_of_it[name] = max(all_of_it.get(name, 0.0), every)
            (work / "out.h5").unlink()
    for name, taken in seconds.items():
        best, median = int(count) / min(taken), int(count) / statistics.median(taken)
        milliseconds = 1000 * busy[name] / int(count)
        print(f"| {count} | {name} | {best:.0f} | {median:.0f} | {milliseconds:.2f} | {alone[name]:.0f} | {all_of_it[name]:.0f} |", flush=True)
    shutil.rmtree(work / "in")
print(f"\nMean length of a JPEG: {int(made.stdout)} bytes.")
