#!/usr/bin/env bash
# A real run beside its simulation: four shards on two groups of one rank, as one MPI job that is killed twice and started again by this
# script at once; the simulation is given the measured rate, the moments of the kills and the time that a start takes.
# usage: killed_run.sh BUILD FOLDER
set -euo pipefail
build=$1 folder=$2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
arguments=(configs/quickstart.yaml --set "run_folder=$folder" --set launch.threads_per_rank=1 --set ingredients.keep_weights=raw --set ingredients.checkpoint_images=640
           --set 'data.shards[0].images=4000' --set 'data.shards[1].images=3200' --set 'data.shards[2].images=1600' --set 'data.shards[3].images=2400')
command=(mpirun --oversubscribe --bind-to none -n 2 "$build/soup" train "${arguments[@]}" --ingredients)
"$build/soup" train "${arguments[@]}" --base > /dev/null 2>&1

seconds_of() { local from; from=$(date +%s.%N); "$@" > "$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }; echo "$(date +%s.%N) - $from" | bc; }
undisturbed=$(seconds_of "${command[@]}")
read -r rate start <<< "$(python3 experiments/benchmarks/cluster/group_rate.py "$folder/logs/ingredients.jsonl")"
rm -r "$folder/ingredients" "$folder/logs"

kills=(15 34)
from=$(date +%s.%N)
since() { echo "$(date +%s.%N) - $from" | bc; }
for kill in "${kills[@]}"; do
  setsid "${command[@]}" > "$folder.log" 2>&1 &
  process=$!
  sleep "$(echo "$kill - $(since)" | bc)"
  # The ranks too: those that lose their mpirun take a second to notice.
  mapfile -t ranks < <(pgrep -P "$process")
  kill -9 "${ranks[@]}" "$process" 2> /dev/null || true
  wait "$process" 2> /dev/null || true
done
"${command[@]}" > "$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }
killed=$(since)
echo "real: $undisturbed s undisturbed, $killed s with kill -9 after ${kills[*]} s; a rank trains $rate images/s beside another, a start takes $start s"
# The start that every run needs is no part of the simulated one.
shift=(); for kill in "${kills[@]}"; do shift+=(--fail-at "$(echo "$kill - $start" | bc):0"); done
"$build/soup" plan "${arguments[@]}" --ranks 2 --simulate --images-per-second "$rate" --failures-per-hour 0 "${shift[@]}" --restart-seconds "$start" --repeats 1
