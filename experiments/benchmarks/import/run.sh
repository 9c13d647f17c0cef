#!/usr/bin/env bash
# Times `soup import` of JPEGs with captions, from WebDataset tars and from a folder, against the usual Python (Pillow,
# webdataset, h5py; peer.py), in turns, so that all meet the same machine, by the clock and by processor time, which other
# programs disturb less; and shows that memory does not grow.
#
#   bash experiments/benchmarks/import/run.sh BUILD_FOLDER [ROUNDS] [COUNTS] [SIDE] [RESOLUTION]
#
# BUILD_FOLDER holds the program soup. Makes a Python environment in .deps/bench-import (150 MB). Needs the space of the
# largest count twice as pixels (20,000 images of 512 x 512: 32 GB; of 128 x 128, which show memory as well: 2 GB). Prints a table in Markdown.
set -euo pipefail
build=$1 rounds=${2:-3} counts=${3:-"2000 20000"} side=${4:-1024} resolution=${5:-512}
here=$(cd "$(dirname "$0")" && pwd)
environment=$here/../../../.deps/bench-import
if ! cmp --silent "$here/requirements.txt" "$environment/complete.txt"; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$environment/complete.txt"
fi
work=$(mktemp -d "${SOUP_BENCH_FOLDER:-/tmp}/soup-import.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$environment/bin/python" "$here/compare.py" "$build" "$work" "$rounds" "$counts" "$side" "$resolution"
