#!/usr/bin/env bash
# Copies programs of a build with the shared libraries they need into one folder, for machines without these packages, such
# as compute nodes: all but glibc and LibTorch with its CUDA libraries, which are taken from the target's Python there.
# usage: bash launch/bundle.sh BUILD_FOLDER OUTPUT [PROGRAM...]      (programs: soup and soup-torch when left out)
# then, on the other machine:  OUTPUT/run PROGRAM ARGUMENTS...       (LibTorch: torch==2.11.0 of python3, or of the folder
#                                                                     in SOUP_LIBTORCH that holds torch/ and nvidia/)
set -euo pipefail

if [[ $# -lt 2 ]]; then
  sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
build=$1 output=$2
shift 2
[[ $# -gt 0 ]] || set -- soup soup-torch
if [[ -e $output ]]; then
  echo "bundle: error: $output exists" >&2
  exit 2
fi

mkdir -p "$output.partial/lib"
for program in "$@"; do
  [[ -x $build/$program ]] || { echo "bundle: error: no program $build/$program" >&2; exit 2; }
  cp "$build/$program" "$output.partial/$program"
  strip --strip-debug "$output.partial/$program"
done
# What OpenMPI and libvips open by name at run time is not among these: on one process neither needs it.
ldd "${@/#/$build/}" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
  grep -vE '/(torch|nvidia)/|/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux-x86-64)\.so' |
  xargs cp --dereference --target-directory "$output.partial/lib"
cat > "$output.partial/run" <<'END'
#!/usr/bin/env bash
# usage: run PROGRAM ARGUMENTS...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
site=${SOUP_LIBTORCH:-$(python3 -c 'import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec("torch").origin).parent.parent)')}
cuda=("$site"/nvidia/*/lib)
LD_LIBRARY_PATH=$here/lib:$site/torch/lib:$(IFS=:; echo "${cuda[*]}")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
program=$1
shift
exec "$here/$program" "$@"
END
chmod +x "$output.partial/run"
mv "$output.partial" "$output"
echo "bundle: $output, $(du -sm "$output" | cut -f1) MB"
