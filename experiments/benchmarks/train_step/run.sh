#!/usr/bin/env bash
# Times soup's training step against PyTorch eager with diffusers' U-Net (both memory layouts), in turns, so that all
# meet the same machine.
#
#   bash experiments/benchmarks/train_step/run.sh BUILD_FOLDER PYTHON [ROUNDS] [SECONDS] [further options of both]
#
# BUILD_FOLDER was configured with -DSOUP_BENCHMARKS=ON; PYTHON has torch and diffusers. Prints one JSON line per
# measurement, then per thread count the lowest and median images/s over the rounds (of each round's median step) and the
# ratio of the medians.
set -euo pipefail
build=$1 python=$2 rounds=${3:-5} seconds=${4:-10}
shift $(($# < 4 ? $# : 4))
here=$(cd "$(dirname "$0")" && pwd)
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for threads in 1 2; do
  for ((round = 0; round < rounds; ++round)); do
    OMP_NUM_THREADS=$threads "$build/soup_bench_train_step" --threads "$threads" --seconds "$seconds" "$@" | tee -a "$results"
    for layout in "" --channels-last; do
      OMP_NUM_THREADS=$threads "$python" "$here/train_step.py" --threads "$threads" --seconds "$seconds" $layout "$@" |
        tee -a "$results"
    done
  done
done
"$python" - "$results" <<'PYTHON'
import json
import statistics
import sys

lines = [json.loads(line) for line in open(sys.argv[1])]
for threads in sorted({line["threads"] for line in lines}):
    medians = {}
    for program in ("soup", "diffusers", "diffusers, channels last"):
        chosen = [line for line in lines if line["threads"] == threads and line["program"] == program]
        rates = [line["median"] for line in chosen]
        medians[program] = statistics.median(rates)
        print(
            f"{threads} threads, {program}: min {min(rates):.1f}, median {medians[program]:.1f} images/s,"
            f" best step {max(line['best'] for line in chosen):.1f}, peak {max(line['peak_mib'] for line in chosen)} MiB"
        )
    for program in ("diffusers", "diffusers, channels last"):
        print(f"{threads} threads: soup / {program} = {medians['soup'] / medians[program]:.3f}")
PYTHON
