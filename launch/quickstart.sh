#!/usr/bin/env bash
# From a fresh Debian 12 to a report: set-up, build, and configs/quickstart.yaml run on two ranks.
# usage: bash launch/quickstart.sh [--from-scratch] [OPTIONS OF soup run...]
#   --from-scratch   train the base first (configs/base-icons.yaml; many hours on two cores) instead of starting from the
#                    one in the repository
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"; }

from_scratch=no
case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  --from-scratch)
    from_scratch=yes
    shift
    ;;
esac

ranks=2
# mpirun gives its processes pipes, so soup cannot see the terminal it writes to in the end.
if [[ -t 2 ]]; then
  export SOUP_LIVE=1
  COLUMNS=$(tput cols 2>/dev/null || echo 80)
  export COLUMNS
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cores=$(env -u OMP_NUM_THREADS nproc) # nproc would take that variable for the number of cores
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > ranks ? cores / ranks : 1))}

soup_run() {
  local code=0
  mpirun -n "$ranks" --oversubscribe --bind-to none build/release/soup run "$@" || code=$?
  if [[ $code -ne 0 ]]; then
    echo "quickstart: soup run $1 ended with exit code $code after $(elapsed); the same command goes on from there" >&2
    exit "$code"
  fi
}

elapsed() { echo "$((SECONDS / 60)) min $((SECONDS % 60)) s"; }

bash launch/setup.sh
echo "quickstart: building"
bash launch/build.sh release soup
echo "quickstart: built after $(elapsed)"
base=()
if [[ $from_scratch == yes ]]; then
  soup_run configs/base-icons.yaml
  base=(--set base.model=runs/base-icons/base)
fi
soup_run configs/quickstart.yaml "${base[@]}" "$@"
echo "quickstart: done after $(elapsed); open $PWD/runs/quickstart/report/index.html"
