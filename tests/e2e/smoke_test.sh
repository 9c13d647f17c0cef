#!/usr/bin/env bash
# The whole run on a tiny real subset: alone and under mpirun, twice (the second time nothing is done), checked by soup verify.
source "$(dirname "$0")/support.sh"

run alone || { cat "$work/alone.log"; fail "the run ended with $?"; }
for file in experiment.yaml environment.json log.jsonl soup/ledger.json soup/unet/diffusion_pytorch_model.safetensors \
  soups/without-oxygen/ledger.json paragon/equal-total/loss.jsonl evaluation/comparison.json report/index.html; do
  [[ -s $work/alone/$file ]] || fail "$file is missing"
done
grep -q 'data:image/png' "$work/alone/report/index.html" || fail "the report has no picture"
grep -qE '(src|href)="https?:' "$work/alone/report/index.html" && fail "the report needs a network"

# A second call finds every stage done.
before=$(results alone)
run alone || fail "the second run ended with $?"
grep -q '"event":"stage_started"' <(tail -n 3 "$work/alone/log.jsonl") && fail "a finished stage was run again"
[[ $(results alone) == "$before" ]] || fail "a second run changed results"

"$soup" verify "$work/alone" > "$work/verify.log" 2>&1 || { cat "$work/verify.log"; fail "verify ended with $?"; }

# The soup of the run is the soup of its files, and what add and remove make is what a soup from scratch is.
"$soup" merge --help > "$work/merge.help"
ingredients=("$work/alone/ingredients/oxygen" "$work/alone/ingredients/faenza")
"$soup" merge "${ingredients[@]}" --output "$work/merged" > "$work/merge.log" 2>&1 || { cat "$work/merge.log"; fail "merge ended with $?"; }
weights=unet/diffusion_pytorch_model.safetensors
digest_of() { sed -n 's/.*"soup_digest": "\([0-9a-f]*\)".*/\1/p' "$1/ledger.json"; }
[[ -n $(digest_of "$work/merged") && $(digest_of "$work/merged") == $(digest_of "$work/alone/soup") ]] ||
  fail "soup merge and the run's all-reduce disagree"
"$soup" remove "$work/merged" oxygen --output "$work/removed" > "$work/remove.log" 2>&1 || { cat "$work/remove.log"; fail "remove ended with $?"; }
[[ $(digest_of "$work/removed") == $(digest_of "$work/alone/soups/without-oxygen") ]] || fail "remove and from scratch disagree"
"$soup" add "$work/removed" "$work/alone/ingredients/oxygen" --output "$work/added" > "$work/add.log" 2>&1 || { cat "$work/add.log"; fail "add ended with $?"; }
cmp -s <(tail -c 1000 "$work/added/$weights") <(tail -c 1000 "$work/merged/$weights") || fail "add after remove changed the weights"

"$soup" sample --model "$work/alone/soup" --prompt "actions go home, oxygen style" --count 2 --steps 3 \
  --output "$work/sample.png" > /dev/null || fail "sample ended with $?"
[[ $(head -c 8 "$work/sample.png" | od -An -tx1 | tr -d ' \n') == 89504e470d0a1a0a ]] || fail "sample wrote no PNG"

# Two ranks train two groups; each ingredient has the bits that one rank gave it.
mpirun --oversubscribe --bind-to none -n 2 "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/two" \
  > "$work/two.log" 2>&1 || { cat "$work/two.log"; fail "the run on two ranks ended with $?"; }
[[ -s $work/two/report/index.html ]] || fail "two ranks wrote no report"
echo "all stages, merge, add, remove, sample and verify agree"
