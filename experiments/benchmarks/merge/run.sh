#!/usr/bin/env bash
# Times `soup merge` against mergekit-pytorch, torch.stack().mean(0) and plain copies of the same bytes, in turns, so that
# all meet the same machine; warm, in memory (tmpfs).
#
#   bash experiments/benchmarks/merge/run.sh BUILD_FOLDER [ROUNDS] [COUNTS] [DTYPES] [MIB]
#
# BUILD_FOLDER was configured with -DSOUP_BENCHMARKS=ON. Makes a Python environment in .deps/bench-merge (4 GB) and
# needs (K + 3) GiB of memory for the files of K models. Prints a table in Markdown.
set -euo pipefail
build=$1 rounds=${2:-5} counts=${3:-"2 4 16"} dtypes=${4:-"f32 bf16"} mib=${5:-1024}
here=$(cd "$(dirname "$0")" && pwd)
environment=$here/../../../.deps/bench-merge
if ! cmp --silent "$here/requirements.txt" "$environment/complete.txt"; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$environment/complete.txt"
fi
work=$(mktemp -d "${SOUP_BENCH_FOLDER:-/dev/shm}/soup-merge.XXXXXX")
trap 'rm -rf "$work"' EXIT
exec "$environment/bin/python" "$here/compare.py" "$build" "$work" "$rounds" "$counts" "$dtypes" "$mib"
