#!/usr/bin/env bash
# Runs fuzz targets that `bash launch/build.sh fuzz` has built, each from its corpus, until the time is over or something is found.
# usage: bash tests/fuzz/run.sh [--seconds N] [--keep] [TARGET...]
#   --seconds N   for each target (60)
#   --keep        from another place each time, and what reached new code is added, minimised, to the corpus
#   TARGET        as ledger or yaml; all of them without one
# An input that leads to a finding is kept in build/fuzz/findings; give it to build/fuzz/fuzz_TARGET to see it again.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() { sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}"; }

fail() {
  echo "tests/fuzz/run.sh: $1" >&2
  usage >&2
  exit 2
}

seconds=60
keep=no
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --seconds)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--seconds needs a number of seconds"
      seconds=$2
      shift
      ;;
    --keep) keep=yes ;;
    -*) fail "unknown option $1" ;;
    *) targets+=("$1") ;;
  esac
  shift
done
if [[ ${#targets[@]} -eq 0 ]]; then
  for source in tests/fuzz/*.cpp; do
    targets+=("$(basename "$source" .cpp)")
  done
fi

# Inputs are read as files: in memory, where there is such a place, many times as many a second.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work # where targets put the files they read
mkdir -p build/fuzz/findings

for target in "${targets[@]}"; do
  program=build/fuzz/fuzz_$target
  [[ -x $program ]] || fail "$program is not there; build it with \`bash launch/build.sh fuzz\`"
  corpus=tests/fuzz/corpus/$target
  mkdir "$work/$target"
  # HDF5's library leaks memory when it refuses some files, and asks for absurd amounts before it does.
  [[ $target == hdf5_file ]] && leaks=0 || leaks=1
  export ASAN_OPTIONS=detect_leaks=$leaks:allocator_may_return_null=$((1 - leaks))
  # Five seconds for one input and a gigabyte of memory are findings, too.
  options=(-timeout=5 -rss_limit_mb=1024 -max_len=16384 -detect_leaks=$leaks
    -artifact_prefix="build/fuzz/findings/$target-")
  [[ ! -e tests/fuzz/$target.dict ]] || options+=("-dict=tests/fuzz/$target.dict")
  # The first folder takes what is new. The same inputs in the same order unless more is wanted: a test should not fail by chance.
  if [[ $keep == no ]]; then
    "$program" "${options[@]}" -seed=1 -max_total_time="$seconds" -verbosity=0 -print_final_stats=1 "$work/$target" "$corpus"
  else
    "$program" "${options[@]}" -max_total_time="$seconds" -print_final_stats=1 "$work/$target" "$corpus"
    "$program" "${options[@]}" -merge=1 "$corpus" "$work/$target"
  fi
done
