#!/usr/bin/env bash
# One world of several groups: groups of different sizes that take shards as they become free, an ingredient that fails, and two
# programs in one run folder.
source "$(dirname "$0")/support.sh"

mpi=(mpirun --oversubscribe --bind-to none)
yaml=$work/three.yaml
sed 's|^base:$|    - {name: third, images: 192, icon_theme: {package: tango-icon-theme, theme: Tango, limit: 40}}\n&|' configs/smoke.yaml > "$yaml"

world() {
  local ranks=$1 folder=$2
  shift 2
  "${mpi[@]}" -n "$ranks" "$soup" run "$yaml" "${smaller[@]}" --set "run_folder=$work/$folder" "$@" > "$work/$folder.log" 2>&1
}
digests() { results "$1" | grep -E '^\./(ingredients|soups?)/'; }

# Whoever trains what, and whether sums are kept in memory or not: the same ingredients and soups.
world 1 alone || { cat "$work/alone.log"; fail "one rank ended with $?"; }
world 2 two --set base.train.images=128 || { cat "$work/two.log"; fail "two groups ended with $?"; }
cp -r "$work/alone" "$work/again" && rm -r "$work/again/soup" "$work/again/soups" "$work/again/ingredients"
world 2 again --set soup.accumulate=false || { cat "$work/again.log"; fail "two groups on one rank's base ended with $?"; }
[[ $(digests again) == "$(digests alone)" ]] || { diff <(digests again) <(digests alone); fail "two groups made other models than one rank"; }
[[ ! -e $work/again/claims ]] || fail "claims are left behind"

# Groups of two ranks and one: all is trained, and the soup verifies from its ingredients.
world 3 mixed --set 'data.shards[2].ranks=2' || { cat "$work/mixed.log"; fail "groups of two and one ended with $?"; }
grep -q '3 ranks in 2 groups: 0-1, 2' "$work/mixed.log" || { cat "$work/mixed.log"; fail "no word on the groups"; }
"$soup" verify "$work/mixed" > "$work/verify.log" || { cat "$work/verify.log"; fail "verify ended with $?"; }
grep -q 'the same bits again from 3 ingredients' "$work/verify.log" || { cat "$work/verify.log"; fail "the soup was not made again"; }

# A shard whose training cannot succeed: the others are trained, and the policy decides what becomes of the soup.
cp -r "$work/alone" "$work/failing" && rm -r "$work/failing/soup" "$work/failing/soups" "$work/failing/ingredients"
mkdir "$work/failing/ingredients" && echo "in the way" > "$work/failing/ingredients/faenza"
code=0
world 2 failing || code=$?
[[ $code -eq 3 ]] || { cat "$work/failing.log"; fail "a run with a failing shard ended with $code instead of 3"; }
for shard in oxygen third; do
  [[ -e $work/failing/ingredients/$shard/DONE ]] || { cat "$work/failing.log"; fail "$shard was not trained because faenza failed"; }
done
[[ ! -e $work/failing/soup/DONE ]] || fail "there is a soup although an ingredient failed"
world 2 failing --set soup.on_missing=soup_of_survivors || { cat "$work/failing.log"; fail "the survivors' run ended with $?"; }
grep -q '"missing"' "$work/failing/soup/ledger.json" || { cat "$work/failing/soup/ledger.json"; fail "the ledger does not say what is missing"; }
grep -q 'Not in the soup' "$work/failing/report/index.html" || fail "the report does not say what is missing"
without=$(results alone | sed -n 's|^./soups/without-faenza/DONE ||p')
[[ $(results failing | sed -n 's|^./soup/DONE ||p') == "$without" ]] || fail "the survivors' soup is not the soup without faenza"
"$soup" verify "$work/failing" > "$work/verify.log" || { cat "$work/verify.log"; fail "verify of the survivors ended with $?"; }
# The obstacle goes, and the same command ends with all.
rm "$work/failing/ingredients/faenza"
world 2 failing --set soup.on_missing=soup_of_survivors || { cat "$work/failing.log"; fail "the run after ended with $?"; }
[[ $(digests failing) == "$(digests alone)" ]] || { diff <(digests failing) <(digests alone); fail "other models than without the failure"; }
[[ ! -e $work/failing/missing.json ]] || fail "missing.json is left although nothing is missing"

# A soup that waits for an ingredient that another program trains.
cp -r "$work/alone" "$work/waiting" && rm -r "$work/waiting/soup" "$work/waiting/soups" "$work/waiting/ingredients/third"
arguments=("$yaml" "${smaller[@]}" --set "run_folder=$work/waiting" --set soup.on_missing=wait)
"$soup" train "${arguments[@]}" --soup > "$work/waiting.log" 2>&1 &
waiting=$!
for _ in $(seq 1 500); do ! grep -q 'waiting for ingredients: third' "$work/waiting.log" || break; sleep 0.02; done
"$soup" train "${arguments[@]}" --shard third > "$work/third.log" 2>&1 || { cat "$work/third.log"; fail "training one shard ended with $?"; }
wait "$waiting" || { cat "$work/waiting.log"; fail "the waiting soup ended with $?"; }
[[ $(digests waiting) == "$(digests alone)" ]] || fail "the soup that waited is another one"
[[ -s $work/waiting/logs/ingredient.third.jsonl && -s $work/waiting/logs/soup.jsonl ]] || fail "no logs of the two programs"

# Two runs in one folder: the second is refused. After a kill the lock is taken over.
"$soup" run "$yaml" "${smaller[@]}" --set "run_folder=$work/twice" --set ingredients.images=9600 > "$work/twice.log" 2>&1 &
first=$!
for _ in $(seq 1 500); do ! grep -q 'ingredient/' "$work/twice.log" || break; sleep 0.02; done
code=0
world 1 twice --set ingredients.images=9600 || code=$?
[[ $code -eq 3 ]] || { cat "$work/twice.log"; fail "a second run in the folder ended with $code instead of 3"; }
grep -q "process $first on .* is at work on run" "$work/twice.log" || { cat "$work/twice.log"; fail "no word on who is at work"; }
kill -9 "$first"
wait "$first" 2> /dev/null || true
world 1 twice || { cat "$work/twice.log"; fail "the run after the kill ended with $?"; }
grep -q "run: goes on where process $first on .* ended without finishing" "$work/twice.log" ||
  { cat "$work/twice.log"; fail "no word on the lock that was left"; }
[[ $(digests twice) == "$(digests alone)" ]] || fail "other models after the kill"

# Ranks that were started with different experiments, as with different programs: refused before anything is made.
code=0
"${mpi[@]}" -n 1 "$soup" run "$yaml" "${smaller[@]}" --set "run_folder=$work/mixture" : \
  -n 1 "$soup" run "$yaml" "${smaller[@]}" --set "run_folder=$work/mixture" --set seed=8 > "$work/mixture.log" 2>&1 || code=$?
[[ $code -eq 2 ]] || { cat "$work/mixture.log"; fail "ranks of two experiments ended with $code instead of 2"; }
grep -q 'rank 0 runs soup .*, but rank 1 runs soup' "$work/mixture.log" || { cat "$work/mixture.log"; fail "no word on what the ranks run"; }
[[ ! -e $work/mixture ]] || fail "a run of two experiments left something"

# What the YAML says of rights.
"$soup" run "$yaml" "${smaller[@]}" --set "run_folder=$work/private" --set launch.umask=077 > "$work/private.log" 2>&1 || fail "a run with a umask ended with $?"
[[ -z $(find "$work/private" -perm /077 -not -type l) ]] || { find "$work/private" -perm /077 | head; fail "others may read what umask 077 made"; }
echo "groups, failures, waiting, locks and rights: as they should be"
