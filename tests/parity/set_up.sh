#!/usr/bin/env bash
# Makes the Python environments of the tests with label parity: .deps/oracle/transformers-5, and transformers-4, which
# takes torch from the first. Fetches 3 GB; an environment that is complete is left alone.
# usage: bash tests/parity/set_up.sh
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

oracle=.deps/oracle
log=$oracle/set_up.log

fail() {
  echo "parity: error: $1" >&2
  echo "  hint: $2" >&2
  exit 1
}

# Only pip 22.3 and newer install into an environment other than their own, so that python3-venv is not needed.
python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --python "$(command -v "$python")" --version >>"$log" 2>&1; then
      command -v "$python"
      return
    fi
  done
  fail "no python3 here has pip 22.3 or newer" "apt-get install python3-pip"
}

# make_environment NAME [OTHER]: installs NAME.txt; what that does not name is taken from the environment OTHER.
make_environment() {
  local wanted=tests/parity/$1.txt folder=$oracle/$1 other=${2:-} site
  ! cmp --silent "$wanted" "$folder/complete.txt" || return 0
  echo "parity: fetching $(grep -oE '^transformers==.*' "$wanted") and what it needs"
  rm -rf "$folder"
  "$python" -m venv --without-pip "$folder" >>"$log" 2>&1 ||
    fail "$python cannot make an environment; see $log" "is the disk full?"
  if [[ -n $other ]]; then
    site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # After this environment's own packages in the search order; relative to the folder of the .pth file.
    echo "../../../../$other/lib/$(basename "$(dirname "$site")")/site-packages" >"$site/$other.pth"
  fi
  if ! "$python" -m pip --python "$folder/bin/python" install --disable-pip-version-check --requirement "$wanted" \
    >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    fail "pip install --requirement $wanted failed; the whole output is in $log" "check the network and the disk"
  fi
  cp "$wanted" "$folder/complete.txt"
}

[[ $# -eq 0 ]] || fail "set_up.sh takes no arguments" "usage: bash tests/parity/set_up.sh"
mkdir -p "$oracle"
python=$(python_with_pip)
make_environment transformers-5
make_environment transformers-4 transformers-5
echo "parity: both environments are there"
