#!/usr/bin/env bash
# What users get wrong: each ends with its exit code, names the culprit, and leaves what was there.
source "$(dirname "$0")/support.sh"

# expect CODE TEXT command...: exit code and a text in the message
expect() {
  local code=$1 text=$2 got=0
  shift 2
  "$@" > "$work/out.log" 2>&1 || got=$?
  [[ $got -eq $code ]] || { cat "$work/out.log"; fail "exit code $got instead of $code: $*"; }
  grep -qF -- "$text" "$work/out.log" || { cat "$work/out.log"; fail "the message does not say '$text': $*"; }
}
smoke() { "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/run" "$@"; }

expect 2 "--fast" "$soup" run configs/smoke.yaml --fast
expect 2 "ingredients.image" smoke --set ingredients.image=5
expect 2 "images" smoke --set ingredients.image=5
expect 2 "learning_rate" smoke --set ingredients.learning_rate=fast
expect 2 "two" smoke --set "data.shards[1].name=oxygen"
expect 3 "numix-icon-theme" smoke --set "data.shards[1].icon_theme.root=$work/nowhere" --set "data.shards[1].icon_theme.package=numix-icon-theme"
expect 2 "no such file" "$soup" run "$work/missing.yaml"
printf 'schema: 1\nname: x\n\tseed: 1\n' > "$work/tab.yaml"
expect 2 "tab.yaml:3" "$soup" plan "$work/tab.yaml"
{ printf 'schema: 1\nname: x\n'; head -c 10000000 /dev/zero | tr '\0' '#'; } > "$work/big.yaml"
expect 2 "big.yaml" "$soup" plan "$work/big.yaml"

# Ranks that do not make whole groups.
expect 2 "ranks_per_group" mpirun --oversubscribe --bind-to none -n 3 "$soup" run configs/smoke.yaml "${smaller[@]}" \
  --set "run_folder=$work/run" --set launch.ranks_per_group=2

# The only image of a shard is held out: said before the base is trained, on every rank.
expect 3 "shard oxygen has no image to train on" mpirun --oversubscribe --bind-to none -n 2 "$soup" run configs/smoke.yaml \
  "${smaller[@]}" --set "run_folder=$work/one" --set "data.shards[0].icon_theme.limit=1"
[[ ! -e $work/one/base ]] || fail "the base was trained for a shard without images"
expect 2 "contexts" "$soup" plan configs/smoke.yaml --set "data.shards[0].icon_theme.contexts=[animations]"

# A run folder below a file cannot be written.
touch "$work/file"
expect 3 "file" "$soup" run configs/smoke.yaml --set "run_folder=$work/file/run"

# A good run, then: another experiment's folder, a torn shard, a base of another shape.
smoke > "$work/run.log" 2>&1 || { cat "$work/run.log"; fail "the good run ended with $?"; }
expect 2 "smoke" "$soup" run configs/smoke.yaml --set name=other --set "run_folder=$work/run"
expect 3 "resolution" "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/shape" --set "base={model: $work/run/base}" --set data.resolution=32
truncate -s -100 "$work/run/data/oxygen/shard.h5"
expect 3 "shard.h5" "$soup" verify "$work/run"
expect 3 "shard.h5" "$soup" train configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/run" --set ingredients.images=112 --shard oxygen
[[ -s $work/run/soup/ledger.json ]] || fail "the soup was lost"

# A learning rate that ends in NaN names tensor and image count; the last checkpoint stays.
expect 3 "NaN or Inf after" smoke --set "run_folder=$work/nan" --set ingredients.learning_rate=1 --set ingredients.clip_norm=0 --set ingredients.warmup_images=0 --set ingredients.images=960 --set ingredients.weight_decay=10
echo "every mistake got its exit code and its name"
