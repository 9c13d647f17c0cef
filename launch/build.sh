#!/usr/bin/env bash
# Configures and builds one preset of CMakePresets.json with as many jobs as memory allows.
# usage: bash launch/build.sh PRESET [TARGET...]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $# -lt 1 ]]; then
  echo "usage: bash launch/build.sh PRESET [TARGET...]   (presets: cmake --list-presets)" >&2
  exit 2
fi
preset=$1
shift

# A compiler on a file with torch headers needs up to 1.5 GB; a job more than fits means swapping or a killed compiler.
available_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
jobs=$((available_kib / 1572864))
cores=$(env -u OMP_NUM_THREADS nproc) # nproc would take that variable for the number of cores
jobs=$((jobs < 1 ? 1 : jobs > cores ? cores : jobs))

cmake --preset "$preset" --log-level=WARNING
targets=()
[[ $# -eq 0 ]] || targets=(--target "$@")
cmake --build --preset "$preset" --parallel "$jobs" "${targets[@]}"
