#!/usr/bin/env bash
# A bundle's programs start from another folder, with the bundle's libraries and the LibTorch they are given.
source "$(dirname "$0")/support.sh"

build=$(dirname "$soup")
torch=$(ldd "$build/soup-torch" | awk '/libtorch_cpu/ {print $3}')
SOUP_LIBTORCH=$(dirname "$torch")/../..
export SOUP_LIBTORCH
bash launch/bundle.sh "$build" "$work/bundle" > "$work/said.txt"
cd /
"$work/bundle/run" soup sample --model "$source_root/experiments/base/icons" --prompt "devices printer" --steps 1 \
  --device cpu --output "$work/printer.png" | grep -q "1 images" || fail "soup, which becomes soup-torch, does not sample"
LD_DEBUG=libs "$work/bundle/run" soup --help 2> "$work/libraries.txt" > "$work/help.txt"
grep -q "calling init: $work/bundle/lib/libhdf5" "$work/libraries.txt" || fail "HDF5 is not the bundle's"
if bash "$source_root/launch/bundle.sh" "$build" "$work/bundle" 2> "$work/error.txt"; then
  fail "a folder that is there was replaced"
fi
grep -q "exists" "$work/error.txt" || fail "no word on the folder that is there"

# Installed below a prefix, programs find each other and the libraries of the build.
cmake --install "$build" --prefix "$work/prefix" > "$work/install.txt" || { cat "$work/install.txt"; fail "cmake --install ended with $?"; }
env -u LD_LIBRARY_PATH "$work/prefix/bin/soup" sample --model "$source_root/experiments/base/icons" --prompt "devices printer" --steps 1 \
  --device cpu --output "$work/installed.png" | grep -q "1 images" || fail "the installed soup does not sample"
cmp "$work/printer.png" "$work/installed.png" || fail "the installed soup draws another picture"
