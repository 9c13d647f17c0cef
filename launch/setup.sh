#!/usr/bin/env bash
# Installs what soup needs to build and to run its quickstart on Debian 12: apt packages, LibTorch and icon themes.
# Needs root or sudo only when apt packages are missing. What is there already is left alone, so that a second call ends
# at once; what was interrupted is done again. LibTorch and the icons go to .deps/ in the repository.
# usage: bash launch/setup.sh [--cuda | --tests]
#   --cuda   also LibTorch with all its CUDA libraries and NCCL in .deps/cuda, for the cuda preset; the CUDA toolkit
#            (nvcc, headers) and the driver are not installed
#   --tests  also what only tests need: clang 14 for the fuzz preset (50 MB to fetch, 280 MB on the disk), and Slurm
#            (no service of it is started)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(cmake g++ ninja-build ccache git ca-certificates libopenmpi-dev openmpi-bin libhdf5-dev hdf5-tools libvips-dev
  libarchive-dev libyaml-cpp-dev libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libssl-dev zlib1g-dev libgtest-dev
  libgmock-dev libeigen3-dev libutfcpp-dev libicu-dev gnuplot-nox python3-pip pkg-config)
icon_packages=(papirus-icon-theme breeze-icon-theme numix-icon-theme oxygen-icon-theme gnome-icon-theme mate-icon-theme
  tango-icon-theme adwaita-icon-theme faenza-icon-theme elementary-xfce-icon-theme obsidian-icon-theme lxde-icon-theme)
# libFuzzer comes with the sanitizers' libraries; ps and pgrep with procps.
test_packages=(clang-14 libclang-rt-14-dev slurm-wlm slurm-wlm-basic-plugins munge procps)
torch_version=2.11.0

deps=.deps
log=$deps/setup.log

say() { echo "setup: $*"; }

fail() {
  echo "setup: error: $1" >&2
  [[ -z ${2:-} ]] || echo "  hint: $2" >&2
  exit 1
}

# logged WHAT HINT COMMAND...: runs the command with its output in the log, whose end is shown if it fails.
logged() {
  local what=$1 hint=$2
  shift 2
  echo "== $*" >>"$log"
  if ! "$@" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    fail "$what failed; the whole output is in $log" "$hint"
  fi
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null; then
    sudo DEBIAN_FRONTEND=noninteractive "$@"
  else
    echo "neither root nor sudo for: $*" >&2
    return 1
  fi
}

# The arguments that are not installed, one a line.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  local package
  for package in "$@"; do
    grep -qx "installed $package" <<<"$installed" || echo "$package"
  done
}

package_lists_are_fresh=no
update_package_lists() {
  if [[ $package_lists_are_fresh == no ]]; then
    say "reading the package lists"
    logged "apt-get update" "check the network and /etc/apt/sources.list; without root or sudo ask an administrator" \
      as_root apt-get update
    package_lists_are_fresh=yes
  fi
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "${packages[@]}")
  [[ ${#missing[@]} -gt 0 ]] || return 0
  command -v apt-get >/dev/null ||
    fail "there is no apt-get here to install: ${missing[*]}" "install them by this system's own means"
  update_package_lists
  say "installing ${#missing[@]} packages: ${missing[*]}"
  logged "installing ${missing[*]}" "try \`apt-get install ${missing[*]}\` by hand to see why" \
    as_root apt-get install --yes --no-install-recommends "${missing[@]}"
  mapfile -t missing < <(missing_packages "${missing[@]}")
  [[ ${#missing[@]} -eq 0 ]] || fail "apt-get ended well, but these are still missing: ${missing[*]}"
}

libtorch_is_there() {
  local library
  for library in torch/lib/libtorch_cpu.so torch/lib/libc10.so "torch-$torch_version.dist-info/RECORD" \
    nvidia/cu13/lib/libcudart.so.13 nvidia/cu13/lib/libcupti.so.13; do
    [[ -e $deps/libtorch/$library ]] || return 1
  done
}

# Sets `python` to one that has pip.
find_python() {
  for python in python3 /usr/bin/python3 none; do
    [[ $python != none ]] || fail "no python3 here has pip, which unpacks LibTorch" "apt-get install python3-pip"
    ! "$python" -m pip --version >>"$log" 2>&1 || break
  done
}

install_libtorch() {
  ! libtorch_is_there || return 0
  [[ ! -e $deps/libtorch ]] || fail "$deps/libtorch is not LibTorch $torch_version" "remove it and give the command again"
  local python
  find_python
  say "fetching LibTorch $torch_version for $("$python" --version) (0.55 GB)"
  rm -rf "$deps/libtorch.partial"
  # The libraries are used from C++ alone; --no-deps leaves out 3 GB of CUDA that a CPU program never maps.
  logged "pip install torch==$torch_version" "the wheel exists for Python 3.10 to 3.14; check the network and the disk" \
    "$python" -m pip install --disable-pip-version-check --no-deps --target "$deps/libtorch.partial" \
    "torch==$torch_version" "nvidia-cuda-runtime==13.*" "nvidia-cuda-cupti==13.*"
  mv "$deps/libtorch.partial" "$deps/libtorch"
  libtorch_is_there || fail "pip ended well, but $deps/libtorch lacks libraries" "see $log"
}

cuda_is_there() {
  local library
  for library in torch/lib/libtorch_cuda.so "torch-$torch_version.dist-info/RECORD" nvidia/nccl/include/nccl.h \
    nvidia/nccl/lib/libnccl.so.2 nvidia/cu13/lib/libcudart.so.13 nvidia/cudnn/lib/libcudnn.so.9; do
    [[ -e $deps/cuda/$library ]] || return 1
  done
}

# The folder that `pip install torch` would make, so that libtorch_cuda finds its libraries by its own run path, but
# without what only Python needs (Triton, 0.6 GB) and with torch itself as hard links to the one in libtorch/.
install_cuda() {
  ! cuda_is_there || return 0
  [[ ! -e $deps/cuda ]] || fail "$deps/cuda does not hold the CUDA libraries of LibTorch $torch_version" \
    "remove it and give the command again"
  # LibTorch's own metadata pins the versions.
  local wheels python
  mapfile -t wheels < <(sed -nE 's/^Requires-Dist: ((cuda-toolkit|nvidia-)[^;]*);.*/\1/p' \
    "$deps/libtorch/torch-$torch_version.dist-info/METADATA")
  [[ ${#wheels[@]} -gt 0 ]] || fail "LibTorch's metadata names no CUDA libraries" "is $deps/libtorch its CUDA wheel?"
  find_python
  say "fetching the CUDA libraries of LibTorch $torch_version (2 GB)"
  rm -rf "$deps/cuda.partial"
  logged "pip install ${wheels[*]}" "check the network and the disk (4 GB)" \
    "$python" -m pip install --disable-pip-version-check --target "$deps/cuda.partial" "${wheels[@]}"
  logged "linking LibTorch into $deps/cuda.partial" "$deps/cuda and $deps/libtorch must be on one file system" \
    cp -al "$deps/libtorch/torch" "$deps/libtorch/torch-$torch_version.dist-info" "$deps/cuda.partial/"
  mv "$deps/cuda.partial" "$deps/cuda"
  cuda_is_there || fail "pip ended well, but $deps/cuda lacks libraries" "see $log"
}

install_icons() {
  local package folder archives
  for package in "${icon_packages[@]}"; do
    folder=$deps/icons/$package
    [[ ! -d $folder ]] || continue
    command -v apt-get >/dev/null || fail "there is no apt-get here to download $package"
    [[ $(apt-cache policy "$package" 2>/dev/null) == *"Candidate: "[0-9]* ]] || update_package_lists
    say "fetching $package"
    rm -rf "$folder.partial"
    mkdir -p "$folder.partial/tree"
    # Downloaded and unpacked, not installed: the themes' dependencies are desktops.
    (
      cd "$folder.partial"
      log=$OLDPWD/$log
      logged "downloading $package" "is it in this system's package lists? see \`apt-cache policy $package\`" \
        apt-get -o APT::Sandbox::User=root download "$package"
      archives=("$package"_*.deb)
      logged "unpacking $package" "is the disk full?" dpkg-deb -x "${archives[0]}" tree
    )
    mv "$folder.partial/tree" "$folder"
    rm -rf "$folder.partial"
  done
}

usage="usage: bash launch/setup.sh [--cuda | --tests]"
[[ $# -le 1 ]] || fail "at most one argument, not $#" "$usage"
[[ $# -eq 0 || $1 == --cuda || $1 == --tests ]] || fail "unknown argument: $1" "$usage"
mkdir -p "$deps/icons"
exec 9>"$deps/setup.lock"
flock 9 # a second set-up at the same time waits, and then finds all there
[[ ${1:-} != --tests ]] || packages+=("${test_packages[@]}")
install_packages
install_libtorch
[[ ${1:-} != --cuda ]] || install_cuda
install_icons
say "everything is there"
