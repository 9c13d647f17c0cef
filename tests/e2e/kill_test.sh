#!/usr/bin/env bash
# kill -9 in every kind of stage, a stop, a full disk; then the same command ends with the results of a run that was never killed.
source "$(dirname "$0")/support.sh"

run reference || { cat "$work/reference.log"; fail "the reference run ended with $?"; }
reference=$(results reference)

# Starts the run in folder $1, waits until it logs that stage $2 started, and leaves its process in $process.
start_until_stage() {
  local folder=$1 stage=$2
  setsid "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/$folder" > "$work/$folder.log" 2>&1 &
  process=$!
  for _ in $(seq 1 6000); do
    ! grep -qs "\"stage_started\".*\"$stage\"\|\"$stage\".*\"stage_started\"" "$work/$folder/log.jsonl" || return 0
    kill -0 "$process" 2> /dev/null || break
    sleep 0.02
  done
  cat "$work/$folder.log"
  fail "stage $stage was never seen to start"
}

kill_in_stage() {
  start_until_stage "$1" "$2"
  sleep "$3"
  kill -9 -- "-$process" 2> /dev/null || true
  wait "$process" 2> /dev/null || true
}

# One folder killed again and again on its way: each start goes on where the last one was ended.
for stage in import/oxygen base ingredient/oxygen ingredient/faenza soup paragon/equal-total evaluate; do
  kill_in_stage killed "$stage" 0.2
  [[ ! -e $work/killed/report/DONE ]] || fail "the run was over before it could be killed in $stage"
done
run killed || { cat "$work/killed.log"; fail "the run after the kills ended with $?"; }
[[ $(results killed) == "$reference" ]] || { diff <(results killed) <(echo "$reference"); fail "results differ after kills"; }
find "$work/killed" -name '*.partial-*' | grep -q . && fail "half-written files are left: $(find "$work/killed" -name '*.partial-*')"
"$soup" verify "$work/killed" > /dev/null || fail "verify ended with $?"

# A stop signal: exit code 75, after a checkpoint where there is something to keep, and the same results in the end.
stop_in_stage() {
  local stage=$1 code=0
  start_until_stage stopped "$stage"
  kill -TERM "$process"
  wait "$process" || code=$?
  [[ $code -eq 75 ]] || { cat "$work/stopped.log"; fail "a run stopped in $stage ended with $code instead of 75"; }
}
stop_in_stage ingredient/oxygen
ls "$work"/stopped/ingredients/oxygen/checkpoint-*.safetensors > /dev/null || fail "no checkpoint after the stop"
stop_in_stage evaluate
run stopped || fail "the run after the stop ended with $?"
[[ $(results stopped) == "$reference" ]] || fail "results differ after a stop"

# Writes that fail in the middle of a file, as on a full disk: of a shard, then of a checkpoint.
for limit in "32 shard.h5" "512 checkpoint-"; do
  code=0
  (trap '' XFSZ && ulimit -f "${limit% *}" && run full) || code=$?
  [[ $code -eq 3 ]] || { cat "$work/full.log"; fail "a run that could not write ended with $code instead of 3"; }
  grep -q "error: .*${limit#* }.*: cannot write" "$work/full.log" || { cat "$work/full.log"; fail "no word about ${limit#* }"; }
done
run full || { cat "$work/full.log"; fail "the run after there was space again ended with $?"; }
[[ $(results full) == "$reference" ]] || fail "results differ after failed writes"
echo "killed in seven stages, stopped twice, twice without space: the same bits"
