#!/usr/bin/env bash
# Fails when a folder includes one to its right in core < data < launch < trainer < merge < experiments, or when a torch
# header is included outside trainer/, experiments/ and tests/.
# usage: check_includes.sh ROOT      check the tree at ROOT
#        check_includes.sh --self-test   check that the script finds planted mistakes
set -euo pipefail

folders=(core data launch trainer merge experiments)

check() {
  local root=$1 place=0 found=0
  for folder in "${folders[@]}"; do
    place=$((place + 1))
    local forbidden=("${folders[@]:place}" tests)
    local pattern
    pattern=$(IFS='|'; echo "${forbidden[*]}")
    local name
    while IFS= read -r -d '' name; do
      if grep -HnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[\"<]($pattern)/" "$name"; then
        echo "  hint: $folder may include only itself and the folders to its left in: ${folders[*]}"
        found=1
      fi
      if [[ $folder != trainer && $folder != experiments ]] &&
        grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<](torch|ATen|c10|caffe2)/' "$name"; then
        echo "  hint: $folder is free of torch, so that its programs start and build fast"
        found=1
      fi
    done < <(find "$root/$folder" -type f \( -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name '*.cuh' \) -print0)
  done
  return "$found"
}

self_test() {
  local root
  root=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder's name is wanted as it is now
  trap "rm -rf '$root'" EXIT
  mkdir "${folders[@]/#/$root/}"
  printf '#include "core/error.hpp"\n#include "merge/soup.hpp"\n// #include "experiments/x.hpp"\n' >"$root/merge/good.cpp"
  printf '#include <torch/nn/module.h>\n#include "data/import.hpp"\n' >"$root/trainer/good.hpp"
  if ! check "$root"; then
    echo "error: a correct tree was refused" >&2
    return 1
  fi
  local planted
  for planted in 'core/a.hpp|#include "data/image.hpp"' 'data/a.cpp|  #  include "launch/topology.hpp"' \
    'trainer/a.hpp|#include "merge/soup.hpp"' 'merge/a.cpp|#include "experiments/experiment.hpp"' \
    'experiments/a.cpp|#include "tests/core/temp_folder.hpp"' 'merge/a.cu|#include <ATen/ATen.h>' \
    'core/a.cpp|#include <torch/torch.h>' 'launch/a.hpp|#include "c10/core/Device.h"'; do
    echo "${planted#*|}" >"$root/${planted%%|*}"
    if check "$root" >"$root/output"; then
      echo "error: not found: ${planted#*|} in ${planted%%|*}" >&2
      return 1
    fi
    rm "$root/${planted%%|*}"
  done
  echo "all planted mistakes were found"
}

if [[ $# -ne 1 ]]; then
  echo "usage: $0 ROOT | --self-test" >&2
  exit 2
fi
if [[ $1 == --self-test ]]; then
  self_test
else
  check "$1"
fi
