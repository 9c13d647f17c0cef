"""The table at the end of run.sh, from its lines of JSON."""

import json
import pathlib
import statistics
import sys
import time

import torch


# Dense bfloat16, data sheets.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12}


def matmul_rate(threads, precision, device):
    """Operations a second of a square matrix product: what a step could reach at most."""
    torch.set_num_threads(threads)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    side = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(side, side, dtype=kind, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best


def peak_rate(precision, device):
    """The data sheet's, or None where it is not known here."""
    if device != "cuda" or precision != "bf16":
        return None
    name = torch.cuda.get_device_name()
    print(f"GPU: {name}")
    return next((rate for part, rate in PEAKS.items() if part in name), None)


folder = pathlib.Path(sys.argv[1])
flops = json.loads((folder / "work.json").read_text())["flops_per_image"]
lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
expected = lines[0]["losses"]
for line in lines:
    worst = max(abs(found - wanted) / wanted for found, wanted in zip(line["losses"], expected))
    if worst > (2e-2 if sys.argv[2] == "bf16" else 1e-4):
        sys.exit(f"{line['program']} computes other losses: {line['losses']}, not {expected}")
print(f"losses of the first two steps: {expected[0]:.6f}, {expected[1]:.6f} (all programs alike)")
for threads in sorted({line["threads"] for line in lines}):
    ceiling = matmul_rate(threads, *sys.argv[2:4])
    peak = peak_rate(*sys.argv[2:4])
    medians = {}
    for program in dict.fromkeys(line["program"] for line in lines):
        chosen = [line for line in lines if line["threads"] == threads and line["program"] == program]
        rates = [line["median"] for line in chosen]
        medians[program] = statistics.median(rates)
        mfu = f", MFU {medians[program] * flops / peak:.1%}" if peak else ""
        print(
            f"{threads} threads, {program}: min {min(rates):.4g}, median {medians[program]:.4g} images/s,"
            f" {medians[program] * flops / 1e12:.3f} TFLOP/s ({medians[program] * flops / ceiling:.0%} of a matrix"
            f" product's{mfu}), peak {max(line['peak_mib'] for line in chosen)} MiB"
        )
    for program, median in medians.items():
        if not program.startswith("soup"):
            for ours in (name for name in medians if name.startswith("soup")):
                print(f"{threads} threads: {ours} / {program} = {medians[ours] / median:.3f}")
