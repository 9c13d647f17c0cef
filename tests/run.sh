#!/usr/bin/env bash
# Sets up, builds the ci preset (warnings are errors) and runs the tests.
# usage: bash tests/run.sh [-L LABEL]... [--help]
#   -L, --label LABEL   only tests with this label (unit, model, property, mpi, golden, fault, e2e, gpu), a regular
#                       expression as for ctest
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"; }

ctest_options=(--output-on-failure)
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    -L | --label)
      if [[ $# -lt 2 ]]; then
        echo "tests/run.sh: $1 needs a label" >&2
        exit 2
      fi
      ctest_options+=(-L "$2" --no-tests=error)
      shift 2
      ;;
    *)
      echo "tests/run.sh: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
done

bash launch/setup.sh
bash launch/build.sh ci
# One thread per process: tests run side by side, and OpenMP threads that wait in a spin would take the others' cores.
export OMP_NUM_THREADS=1
ctest --test-dir build/ci --parallel "$(nproc)" "${ctest_options[@]}"
