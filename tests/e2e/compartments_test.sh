#!/usr/bin/env bash
# Who trains a shard opens that shard's file and no other: traced, and with shards that others may not read.
# arguments: SOUP SOURCE PRELOAD (the library of preload.cpp)
source "$(dirname "$0")/support.sh"
preload=$3

yaml=$work/three.yaml
sed 's|^base:$|    - {name: third, images: 192, icon_theme: {package: tango-icon-theme, theme: Tango, limit: 40}}\n&|' configs/smoke.yaml > "$yaml"
arguments=("$yaml" "${smaller[@]}" --set "run_folder=$work/run")

# Data and base first, by who may read all.
"$soup" train "${arguments[@]}" --base > "$work/base.log" 2>&1 || { cat "$work/base.log"; fail "data and base ended with $?"; }

# Shards whose files process $1 of the trace $2 opened.
opened() { grep -hoE 'data/[^/]+/shard\.h5$' "$work/$2/$1" | sort -u | cut -d/ -f2 | tr '\n' ' '; }

# One shard as a job of its own, as of an owner who cannot read the others'.
chmod 0600 "$work/run/data/faenza/shard.h5"
mv "$work/run/data/third/shard.h5" "$work/third.h5"
mkdir "$work/alone"
LD_PRELOAD=$preload SOUP_TRACE_OPENS=$work/alone "$soup" train "${arguments[@]}" --shard oxygen > "$work/alone.log" 2>&1 ||
  { cat "$work/alone.log"; fail "training oxygen without the other shards' files ended with $?"; }
[[ $(for file in "$work"/alone/*; do opened "${file##*/}" alone; done) == "oxygen " ]] ||
  { grep -h shard.h5 "$work"/alone/*; fail "the trainer of oxygen opened other shards"; }
mv "$work/third.h5" "$work/run/data/third/shard.h5"
if [[ $(id -u) -eq 0 ]] && command -v setpriv > /dev/null; then
  chmod 755 "$work"
  chown -R 65534 "$work/run"
  chown 0 "$work/run/data/faenza/shard.h5"
  as_nobody() { HOME=$work setpriv --reuid=65534 --clear-groups "$soup" train "${arguments[@]}" "$@" > "$work/nobody.log" 2>&1; }
  rm -r "$work/run/ingredients"
  as_nobody --shard oxygen || { cat "$work/nobody.log"; fail "an owner could not train a shard because another's is not readable: $?"; }
  code=0
  as_nobody --shard faenza || code=$?
  [[ $code -eq 3 ]] || { cat "$work/nobody.log"; fail "training a shard that is not readable ended with $code instead of 3"; }
  grep -q 'faenza/shard.h5' "$work/nobody.log" || { cat "$work/nobody.log"; fail "no word on the file"; }
  chown -R 0 "$work/run"
fi

# Groups in one world: each process of a group opens the files of the shards it trains.
rm -rf "$work/run/ingredients"
mkdir "$work/world"
mpirun --oversubscribe --bind-to none -n 2 -x LD_PRELOAD="$preload" -x SOUP_TRACE_OPENS="$work/world" \
  "$soup" train "${arguments[@]}" --ingredients > "$work/world.log" 2>&1 || { cat "$work/world.log"; fail "two groups ended with $?"; }
groups=0
for file in "$work"/world/*; do
  process=${file##*/}
  trained=$(grep -h '"stage_started"' "$work/run/logs/ingredients.jsonl" | grep "\"pid\":$process\b" | grep -oE 'ingredient/[a-z]+' | cut -d/ -f2 | sort -u | tr '\n' ' ')
  [[ $(opened "$process" world) == "$trained" ]] ||
    { cat "$work/run/logs/ingredients.jsonl"; fail "process $process trained '$trained' and opened '$(opened "$process" world)'"; }
  [[ -z $trained ]] || groups=$((groups + 1))
done
[[ $groups -eq 2 ]] || { ls "$work/world"; fail "$groups groups were traced"; }
echo "each shard's file was opened by its trainers alone"
