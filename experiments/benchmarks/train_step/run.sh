#!/usr/bin/env bash
# Times soup's training step against PyTorch with diffusers' U-Net (both memory layouts, eager; compiled with --compile)
# on the same weights, batch and precision, in turns, so that all meet the same machine. Losses of the first two steps
# must agree.
#
#   bash experiments/benchmarks/train_step/run.sh BUILD_FOLDER PYTHON [options]
#
#     --model small|sd2      the U-Net of configs/base-icons.yaml, or Stable Diffusion 2's (866 M parameters); small
#     --batch N --size N     images a step, latent pixels a side; 32, 16
#     --threads "1 2"        one table each
#     --rounds N             turns; 5
#     --seconds S            of each measurement; 10. Or --steps N: exactly so many, none of them warm-up
#     --precision fp32|bf16  --recompute  --compile
#     --device cpu|cuda      cuda: BUILD_FOLDER is of the cuda preset with benchmarks; soup also with --deterministic
#
# BUILD_FOLDER was configured with -DSOUP_BENCHMARKS=ON; PYTHON has torch and diffusers. Prints one JSON line per
# measurement, then for every program the lowest and median images/s over the rounds, TFLOP/s, their part of what a plain
# matrix product reaches here in the same precision (on a GPU also of the data sheet's rate: MFU), and peak memory.
set -euo pipefail
build=$1 python=$2
shift 2
model=small batch=32 size=16 threads="1 2" rounds=5 compile=no precision=fp32 device=cpu
common=() # for both programs
while [[ $# -gt 0 ]]; do
  case $1 in
    --model) model=$2; shift 2 ;;
    --batch) batch=$2; shift 2 ;;
    --size) size=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --seconds | --steps) common+=("$1" "$2"); shift 2 ;;
    --precision) precision=$2; common+=("$1" "$2"); shift 2 ;;
    --device) device=$2; common+=("$1" "$2"); shift 2 ;;
    --recompute) common+=("$1"); shift ;;
    --compile) compile=yes; shift ;;
    *) echo "run.sh: unknown option $1" >&2; exit 2 ;;
  esac
done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$here/make_model.py" "$work" "$model" --batch "$batch" --size "$size" 2> "$work/make.log" ||
  { cat "$work/make.log" >&2; exit 1; }
[[ $device == cpu ]] || threads=1 # of the CPU, which only queues the GPU's work
ours=("")
[[ $device == cpu ]] || ours+=(--deterministic)
peers=("" --channels-last)
[[ $compile == no ]] || peers+=(--compile)
for count in $threads; do
  for ((round = 0; round < rounds; ++round)); do
    for mode in "${ours[@]}"; do
      OMP_NUM_THREADS=$count "$build/soup_bench_train_step" "$work" --threads "$count" "${common[@]}" $mode |
        tee -a "$work/lines"
    done
    for peer in "${peers[@]}"; do
      OMP_NUM_THREADS=$count "$python" "$here/train_step.py" "$work" --threads "$count" "${common[@]}" $peer |
        tee -a "$work/lines"
    done
  done
done
"$python" "$here/summary.py" "$work" "$precision" "$device"
