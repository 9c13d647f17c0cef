#!/usr/bin/env bash
# What groups, soups and checkpoints cost on this host, in turns, so that all meet the same machine. Ratios of medians over the rounds.
#
#   bash experiments/benchmarks/cluster/run.sh BUILD_FOLDER [--rounds N] [reduce] [groups] [checkpoints] [simulation]
#
#     reduce        the soup of 1 GiB of weights (--mib) over 2 and 4 ranks, beside MPI_Allreduce of as many bytes
#     groups        the default model (configs/quickstart.yaml) on one rank of one thread, on a group of two, on two groups of one
#     checkpoints   the same with checkpoints never, and every 800 images: their cost at the default of one every 50,000
#     simulation    soup plan --simulate: 1,024 ranks, 512 shards of unequal size, a failure an hour; and at small scale beside a real
#                   run whose ranks are killed at the simulated moments
#
# All four when none is named. BUILD_FOLDER was configured with -DSOUP_BENCHMARKS=ON.
set -euo pipefail
build=$(cd "$1" && pwd)
shift
rounds=5 mib=1024 parts=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --mib) mib=$2; shift 2 ;;
    *) parts+=("$1"); shift ;;
  esac
done
[[ ${#parts[@]} -gt 0 ]] || parts=(reduce groups checkpoints simulation)
cd "$(dirname "$0")/../../.."
here=experiments/benchmarks/cluster
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
mpi() { mpirun --oversubscribe --bind-to none -n "$@"; }
has() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# train LABEL RANKS [more]: shard oxygen's ingredient (or all, with --ingredients), and a JSON line with the images a second.
train() {
  local label=$1 ranks=$2
  shift 2
  rm -rf "$work/run/ingredients" "$work/run/logs"
  local goal=(--shard oxygen)
  [[ $label != two-groups ]] || goal=(--ingredients)
  mpi "$ranks" "$build/soup" train configs/quickstart.yaml "${goal[@]}" --set "run_folder=$work/run" --set launch.threads_per_rank=1 "$@" > "$work/train.log" 2>&1 ||
    { cat "$work/train.log" >&2; exit 1; }
  python3 "$here/rates.py" "$label" "$work"/run/logs/*.jsonl
}

if has reduce; then
  for ranks in 2 4; do mpi "$ranks" "$build/soup_bench_soup_reduce" --mib "$mib" --rounds "$rounds"; done | tee -a "$work/lines"
fi
if has groups || has checkpoints; then
  # Two shards alone, so that two groups have one each; data and base are not timed.
  shards=(--set 'data.shards=[{name: oxygen, icon_theme: {package: oxygen-icon-theme, theme: oxygen}}, {name: numix, icon_theme: {package: numix-icon-theme, theme: Numix}}]')
  images=(--set ingredients.images=4800 --set ingredients.keep_weights=raw)
  never=(--set ingredients.checkpoint_images=1000000)
  "$build/soup" train configs/quickstart.yaml --base --set "run_folder=$work/run" "${shards[@]}" "${images[@]}" > "$work/base.log" 2>&1
fi
if has groups; then
  for ((round = 0; round < rounds; ++round)); do
    train one-rank 1 "${shards[@]}" "${images[@]}" "${never[@]}"
    train group-of-two 2 "${shards[@]}" "${images[@]}" "${never[@]}"
    train two-groups 2 "${shards[@]}" "${images[@]}" "${never[@]}"
  done | tee -a "$work/lines"
fi
if has checkpoints; then
  for ((round = 0; round < rounds; ++round)); do
    train no-checkpoints 1 "${shards[@]}" "${images[@]}" "${never[@]}"
    train checkpoints 1 "${shards[@]}" "${images[@]}" --set ingredients.checkpoint_images=800
  done | tee -a "$work/lines"
fi
[[ ! -s $work/lines ]] || python3 "$here/summary.py" "$work/lines"
if has simulation; then
  python3 "$here/many_shards.py" configs/quickstart.yaml 512 > "$work/many.yaml"
  "$build/soup" plan "$work/many.yaml" --ranks 1024 --simulate --images-per-second 100 --failures-per-hour 1 --restart-seconds 300
  bash "$here/killed_run.sh" "$build" "$work/killed"
fi
