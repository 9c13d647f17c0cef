#!/usr/bin/env bash
# Sets up, builds the ci preset (warnings are errors) and runs the tests.
# usage: bash tests/run.sh [-L LABEL]... [--oracle] [--help]
#   -L, --label LABEL   only tests with this label (unit, model, property, mpi, golden, fault, fuzz, e2e,
#                       slurm, gpu, parity), a regular expression as for ctest
#   --oracle            also the tests with label parity: diffusers and transformers 4 and 5 read what soup writes, and
#                       the other way round, and both compute the same; the first time this fetches 3 GB of Python
#                       packages into .deps/oracle
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,8s/^# //p' "${BASH_SOURCE[0]}"; }

ctest_options=(--output-on-failure)
oracle=no
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
    --oracle)
      oracle=yes
      shift
      ;;
    *)
      echo "tests/run.sh: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
done

bash launch/setup.sh --tests
[[ $oracle == no ]] || bash tests/parity/set_up.sh
bash launch/build.sh ci
# One thread per process: tests run side by side, and OpenMP threads that wait in a spin would take the others' cores.
export OMP_NUM_THREADS=1
# nproc would take that variable for the number of cores.
ctest --test-dir build/ci --parallel "$(env -u OMP_NUM_THREADS nproc)" "${ctest_options[@]}"
