#!/usr/bin/env bash
# What befalls a run from outside: a clock that jumps, shards altered or cut after they were imported, folders one may not write to,
# SIGUSR1 (a scheduler's word that time is up), and a checkpoint that is torn.
# arguments: SOUP SOURCE PRELOAD (the library of preload.cpp)
source "$(dirname "$0")/support.sh"
preload=$3

run reference || { cat "$work/reference.log"; fail "the reference run ended with $?"; }
reference=$(results reference)
same() { [[ $(results "$1") == "$reference" ]] || { diff <(results "$1") <(echo "$reference"); fail "$2: other results"; }; }

# The time of day goes back and forth by a day.
LD_PRELOAD=$preload SOUP_CLOCK_JUMPS=1 run clock || { cat "$work/clock.log"; fail "a run with a jumping clock ended with $?"; }
same clock "a jumping clock"

# A shard's file changes after it was imported, before it is trained on: refused, by name, with nothing made of it. As it was, all goes on.
cp -r "$work/reference" "$work/altered" && rm -r "$work/altered/ingredients" "$work/altered/soup" "$work/altered/soups"
shard=$work/altered/data/oxygen/shard.h5
cp "$shard" "$work/kept.h5"
size=$(stat -c %s "$shard")
refused() {
  local code=0
  run altered || code=$?
  [[ $code -eq 3 ]] || { cat "$work/altered.log"; fail "a run on a shard that was $1 ended with $code instead of 3"; }
  grep -q 'oxygen/shard.h5' "$work/altered.log" || { cat "$work/altered.log"; fail "no word on the shard that was $1"; }
  [[ ! -e $work/altered/ingredients/oxygen/DONE ]] || fail "an ingredient was made of a shard that was $1"
}
truncate -s $((size / 2)) "$shard"
refused cut
cp "$work/kept.h5" "$shard"
# A byte of the images: they are the file's largest part.
printf '\x5a' | dd of="$shard" bs=1 seek=$((size / 2)) conv=notrunc status=none
refused altered
cp "$work/kept.h5" "$shard"
run altered || { cat "$work/altered.log"; fail "the run on the shard as it was ended with $?"; }
same altered "a shard altered and put back"

# A torn checkpoint: the one before it is used.
code=0
run torn --set ingredients.images=96 --set ingredients.keep_checkpoints=3 &
process=$!
for _ in $(seq 1 3000); do ! ls "$work"/torn/ingredients/faenza/checkpoint-*64.safetensors > /dev/null 2>&1 || break; sleep 0.01; done
kill -9 "$(pgrep -P "$process" | head -1)" 2> /dev/null || kill -9 "$process" 2> /dev/null || true
wait "$process" 2> /dev/null || true
newest=$(ls "$work"/torn/ingredients/faenza/checkpoint-*.safetensors 2> /dev/null | tail -1 || true)
if [[ -n $newest && ! -e $work/torn/ingredients/faenza/DONE ]]; then
  truncate -s -100 "$newest"
  run torn --set ingredients.keep_checkpoints=3 || { cat "$work/torn.log"; fail "the run with a torn checkpoint ended with $?"; }
  grep -q 'checkpoint not usable' "$work/torn.log" || { cat "$work/torn.log"; fail "no word on the torn checkpoint"; }
  same torn "a torn checkpoint"
else
  echo "the run was through before its checkpoint could be torn"
fi

# A folder one may not write to; root may everywhere.
if [[ $(id -u) -eq 0 ]] && command -v setpriv > /dev/null; then
  chmod 755 "$work"
  mkdir "$work/closed"
  code=0
  HOME=$work setpriv --reuid=65534 --clear-groups "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/closed/run" > "$work/closed.log" 2>&1 || code=$?
  [[ $code -eq 3 || $code -eq 2 ]] || { cat "$work/closed.log"; fail "a run in a folder that is closed to it ended with $code"; }
  grep -q "$work/closed" "$work/closed.log" || { cat "$work/closed.log"; fail "no word on the folder"; }
  grep -q 'hint:' "$work/closed.log" || { cat "$work/closed.log"; fail "no hint on the folder"; }
fi

# SIGUSR1 is a request to stop, to one rank of two: both write what they have and end with 75; the same command goes on.
setsid mpirun --oversubscribe --bind-to none -n 2 "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/usr1" \
  --set ingredients.images=9600 > "$work/usr1.log" 2>&1 &
process=$!
for _ in $(seq 1 3000); do ! ls "$work"/usr1/ingredients/*/checkpoint-*.safetensors > /dev/null 2>&1 || break; sleep 0.01; done
pkill -USR1 -P "$process" || fail "there are no ranks to signal"
code=0
wait "$process" || code=$?
[[ $code -eq 75 ]] || { cat "$work/usr1.log"; fail "SIGUSR1 ended two ranks with $code instead of 75"; }
ls "$work"/usr1/ingredients/*/checkpoint-*.safetensors > /dev/null || fail "no checkpoint after SIGUSR1"
echo "a jumping clock, altered shards, a torn checkpoint, a closed folder, SIGUSR1: as they should be"
