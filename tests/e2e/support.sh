# Shared by the end-to-end tests: a tiny real experiment, run in a folder of the test's own.
# usage: source support.sh; arguments of the test: SOUP (program) SOURCE (repository root)
set -euo pipefail
soup=$1
source_root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cd "$source_root"

fail() { echo "FAILED: $*" >&2; exit 1; }

# run FOLDER [more arguments]: the smoke experiment, smaller still, in $work/FOLDER; output to $work/FOLDER.log
run() {
  local folder=$1
  shift
  "$soup" run configs/smoke.yaml "${smaller[@]}" --set "run_folder=$work/$folder" "$@" > "$work/$folder.log" 2>&1
}
smaller=(--set base.train.images=128 --set ingredients.images=96 --set base.train.checkpoint_images=32
         --set ingredients.checkpoint_images=32 --set evaluation.prompts=4 --set launch.threads_per_rank=1)

# results FOLDER: name and result digest of every stage but those whose files hold times, one a line
results() {
  (cd "$work/$1" && find . -name DONE | sort | while read -r file; do
    case $file in ./evaluation/* | ./report/*) continue ;; esac
    echo "$file $(sed -n 's/.*"result": "\([0-9a-f]*\)".*/\1/p' "$file")"
  done)
}
