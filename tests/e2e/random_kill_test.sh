#!/usr/bin/env bash
# kill -9 at random moments, again and again: of a run of one process, and of one rank of two. In the end the bits of a run that was
# never killed. How often: SOUP_RANDOM_KILLS, 24 when it is not set; the moments follow SOUP_RANDOM_SEED.
source "$(dirname "$0")/support.sh"
kills=${SOUP_RANDOM_KILLS:-24}
seed=${SOUP_RANDOM_SEED:-$RANDOM}
echo "seed $seed"
RANDOM=$seed

mpi=(mpirun --oversubscribe --bind-to none -n 2)
start() { # FOLDER RANKS: in the background, a process group of its own
  local command=("$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/$1")
  [[ $2 -eq 1 ]] || command=("${mpi[@]}" "${command[@]}")
  setsid "${command[@]}" >> "$work/$1.log" 2>&1 &
  process=$!
}

for ranks in 1 2; do
  began=$(date +%s%N)
  start "reference-$ranks" "$ranks"
  wait "$process" || { cat "$work/reference-$ranks.log"; fail "the reference run on $ranks ranks ended with $?"; }
  milliseconds=$((($(date +%s%N) - began) / 1000000))
  reference=$(results "reference-$ranks")
  finished=0
  for ((kill = 0; kill < kills / 2; ++kill)); do
    start killed "$ranks"
    # Mostly soon after the start, so that one folder is hit many times on its way.
    moment=$((RANDOM % (kill % 4 == 0 ? milliseconds : milliseconds / 4 + 1)))
    sleep "$((moment / 1000)).$(printf '%03d' $((moment % 1000)))"
    if [[ $ranks -eq 2 && $((RANDOM % 2)) -eq 0 ]]; then
      # One rank only: mpirun ends the other.
      victims=($(pgrep -P "$process" || true))
      [[ ${#victims[@]} -eq 0 ]] || kill -9 "${victims[$((RANDOM % ${#victims[@]}))]}" 2> /dev/null || true
    else
      kill -9 -- "-$process" 2> /dev/null || true
    fi
    wait "$process" 2> /dev/null || true
    while pgrep -g "$process" > /dev/null; do sleep 0.02; done
    if [[ -e $work/killed/report/DONE ]]; then
      [[ $(results killed) == "$reference" ]] || { diff <(results killed) <(echo "$reference"); fail "other bits after $kill kills, seed $seed"; }
      finished=$((finished + 1))
      rm -r "$work/killed"
    fi
  done
  start killed "$ranks"
  wait "$process" || { tail -20 "$work/killed.log"; fail "the run after $kill kills ended with $?, seed $seed"; }
  [[ $(results killed) == "$reference" ]] || { diff <(results killed) <(echo "$reference"); fail "other bits after $kill kills, seed $seed"; }
  left=$(find "$work/killed" -name '*.partial-*')
  [[ -z $left ]] || fail "half-written files are left: $left"
  "$soup" verify "$work/killed" > "$work/verify.log" || { cat "$work/verify.log"; fail "verify ended with $?"; }
  rm -r "$work/killed"
  echo "$ranks ranks: $kill kills on the way of $((finished + 1)) runs, the same bits"
done
