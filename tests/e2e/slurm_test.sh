#!/usr/bin/env bash
# soup submit on a real Slurm of four nodes (slurm_cluster.sh): a node dies, a job is told that its time is up, a process is killed; in
# the end the soup has the bits of a run that nobody disturbed. Ends with 77 where there can be no Slurm.
source "$(dirname "$0")/support.sh"
source "$(dirname "$0")/slurm_cluster.sh"
missing=$(slurm_missing)
if [[ -n $missing ]]; then
  echo "skipped: a Slurm of one's own needs $(echo "$missing" | paste -sd ' ')"
  exit 77
fi
trap 'stop_slurm; rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

yaml="$work/three shards.yaml"
sed 's|^base:$|    - {name: third, icon_theme: {package: tango-icon-theme, theme: Tango, limit: 40}}\n&|' configs/smoke.yaml > "$yaml"
arguments=("$yaml" "${smaller[@]}" --set ingredients.images=4000 --set ingredients.checkpoint_images=480 --set paragon.one_shard=false
           --set paragon.equal_total=false)

"$soup" run "${arguments[@]}" --set "run_folder=$work/reference" > "$work/reference.log" 2>&1 || { cat "$work/reference.log"; fail "the reference run ended with $?"; }
start_slurm "$work/slurm" || fail "Slurm did not start"

# A folder with a space; each rank has a node of its own, and two of them make the soups under srun.
export OMPI_MCA_btl_vader_single_copy_mechanism=none # these nodes share a host, but see each other's processes not
run_folder="$work/on slurm"
arguments+=(--set "run_folder=$run_folder" --set cluster.soup_ranks=2 --set cluster.ranks_per_node=1 --set cluster.cores_per_rank=2 --set 'cluster.prolog=["echo prolog on $SLURMD_NODENAME"]'
            --set cluster.partition=main --set 'cluster.time="0:30:00"')
show() { "$soup" status "$run_folder" || true; squeue --array || true; tail -n 5 "$run_folder"/jobs/*.out 2> /dev/null || true; }
say() { show; fail "$@"; }
# until_true SECONDS WHAT COMMAND...
until_true() {
  local seconds=$1 what=$2 end=$((SECONDS + $1))
  shift 2
  while ! "$@"; do
    [[ $SECONDS -lt $end ]] || say "not within $seconds s: $what"
    sleep 0.2
  done
}
state_of() { "$soup" status "$run_folder" --json | python3 -c "import json, sys; print(next(s['state'] for s in json.load(sys.stdin)['stages'] if s['stage'] == '$1'))"; }
is() { [[ $(state_of "$1") == "$2" ]]; }
has_checkpoint() { compgen -G "$run_folder/ingredients/$1/checkpoint-*" > /dev/null; }

"$soup" submit "${arguments[@]}" --dry-run > "$work/dry.txt" || fail "a dry run ended with $?"
grep -q 'sbatch --parsable --dependency=afterok:<base>' "$work/dry.txt" || { cat "$work/dry.txt"; fail "the dry run does not show how jobs depend on each other"; }
[[ -z $(squeue --noheader) ]] || fail "a dry run submitted jobs"
for script in "$run_folder"/jobs/*.sbatch; do bash -n "$script" || fail "$script is no script"; done

"$soup" submit "${arguments[@]}" > "$work/submit.txt" || { cat "$work/submit.txt"; fail "submit ended with $?"; }
code=0
"$soup" submit "${arguments[@]}" > "$work/again.txt" 2>&1 || code=$?
[[ $code -eq 3 ]] || { cat "$work/again.txt"; fail "a second submission ended with $code instead of 3"; }
grep -q 'still queued' "$work/again.txt" || { cat "$work/again.txt"; fail "no word on the jobs that are queued"; }
is soup queued || is soup waiting || say "soup is $(state_of soup)"

for shard in oxygen faenza third; do until_true 60 "$shard is trained" is "ingredient/$shard" running; done
for shard in oxygen faenza third; do until_true 60 "$shard has a checkpoint" has_checkpoint "$shard"; done
told() { "$soup" status "$run_folder" > "$work/status.txt" && grep -qE 'ingredient/oxygen +running.* images/s' "$work/status.txt"; }
until_true 60 "the first says how quickly it gets on" told
grep -qE 'ingredient/oxygen +running +[0-9]+ of 4000 images, [0-9.]+ images/s, .* left, process [0-9]+ on [^,]+, job [0-9]+_[0-9]' "$work/status.txt" || { cat "$work/status.txt"; fail "the status of a stage that runs is not told"; }

# The node of the first goes down, the second has used up its time, the third's program is killed.
array=$(python3 -c "import json; print(next(j['id'] for j in json.load(open('$run_folder/jobs/submitted.json'))['jobs'] if j['name'] == 'ingredients'))")
node=$(squeue --noheader --format=%N --jobs="${array}_0")
kill_node "$node"
scancel --batch --signal=USR1 "${array}_1"
pkill -9 -f "$run_folder/jobs/experiment.yaml --shard third" || fail "there is no process of the third"
start_node "$node"
until_true 30 "the third has failed" bash -c "[[ -z \$(squeue --noheader --jobs=${array}_2 2> /dev/null) ]]"
grep -q 'time is nearly up' "$run_folder/jobs/ingredients.${array}_1.out" || say "the second was not told that its time is up"
until_true 120 "all jobs are through" bash -c '[[ -z $(squeue --noheader) ]]'
is ingredient/oxygen done || say "the first is $(state_of ingredient/oxygen) after its node went down"
is ingredient/faenza done || say "the second is $(state_of ingredient/faenza) after its time was up"
grep -q 'goes on after' "$run_folder/jobs/ingredients.${array}_0.out" || say "the first began anew"
grep -q 'goes on after' "$run_folder/jobs/ingredients.${array}_1.out" || say "the second began anew"
is ingredient/third stopped || say "the third is $(state_of ingredient/third), not stopped"
[[ ! -e $run_folder/soup/DONE ]] || say "there is a soup although an ingredient is missing"

# The same command again: what is left, and nothing else.
"$soup" submit "${arguments[@]}" > "$work/submit.txt" || { cat "$work/submit.txt"; fail "the last submission ended with $?"; }
grep -q '^base' "$work/submit.txt" && { cat "$work/submit.txt"; fail "the base was submitted although it is done"; }
grep -q '1 shards' "$work/submit.txt" || { cat "$work/submit.txt"; fail "more than the third was submitted"; }
until_true 120 "all jobs are through" bash -c '[[ -z $(squeue --noheader) ]]'
is report done || say "the report is $(state_of report)"
grep -qh 'srun --mpi=pmix' "$run_folder"/jobs/soup.*.out || say "no word on how the soup's ranks were started"
grep -qh 'prolog on n' "$run_folder"/jobs/soup.*.out || say "the prolog was not run"

digests() { (cd "$1" && for file in base/DONE ingredients/*/DONE soup/DONE soups/*/DONE; do echo "$file $(sed -n 's/.*"result": "\([0-9a-f]*\)".*/\1/p' "$file")"; done); }
[[ $(digests "$run_folder") == "$(digests "$work/reference")" ]] || { diff <(digests "$run_folder") <(digests "$work/reference"); fail "other bits than the undisturbed run"; }
"$soup" verify "$run_folder" > "$work/verify.txt" || { cat "$work/verify.txt"; fail "verify ended with $?"; }
"$soup" submit "${arguments[@]}" | grep -q 'nothing to submit' || fail "a finished run was submitted again"
cat "$work/status.txt"
echo "a node, a job and a process died on Slurm: the same bits"
