"""The table at the end of run.sh, from its lines of JSON."""

import json
import pathlib
import statistics
import sys
import time

import torch


def matmul_rate(threads, precision):
    """Operations a second of a square matrix product: what a step could reach at most."""
    torch.set_num_threads(threads)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2048, 2048, dtype=kind), torch.randn(2048, 2048, dtype=kind)
    best = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begin)
    return 2 * 2048**3 / best


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
    ceiling = matmul_rate(threads, sys.argv[2])
    medians = {}
    for program in dict.fromkeys(line["program"] for line in lines):
        chosen = [line for line in lines if line["threads"] == threads and line["program"] == program]
        rates = [line["median"] for line in chosen]
        medians[program] = statistics.median(rates)
        print(
            f"{threads} threads, {program}: min {min(rates):.4g}, median {medians[program]:.4g} images/s,"
            f" {medians[program] * flops / 1e12:.3f} TFLOP/s ({medians[program] * flops / ceiling:.0%} of a matrix"
            f" product's), peak {max(line['peak_mib'] for line in chosen)} MiB"
        )
    for program, median in medians.items():
        if program != "soup":
            print(f"{threads} threads: soup / {program} = {medians['soup'] / median:.3f}")
