// The light executable becomes soup-torch, the one beside it that maps LibTorch.
#include "experiments/verbs/become_torch.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/error.hpp"

namespace soup {

namespace {

constexpr const char* torch_hint =
    "soup and soup-torch belong into one folder; build both: cmake --build --preset release";

std::filesystem::path soup_torch() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "soup-torch";
}

}  // namespace

void require_soup_torch() {
  if (const std::filesystem::path program = soup_torch(); ::access(program.c_str(), X_OK) != 0) {
    throw DataError(program, "cannot be started: " + std::generic_category().message(errno), torch_hint);
  }
}

void become_soup_torch(char* const* argv) {
  // Threads that wait for work must not spin: where cores are shared (other ranks, other jobs) spinning costs several
  // times the speed, where they are not a sleeping thread costs a few microseconds. Read by OpenMP at program start.
  ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  const std::filesystem::path program = soup_torch();
  ::execv(program.c_str(), argv);
  throw DataError(program, "cannot be started: " + std::generic_category().message(errno), torch_hint);
}

}  // namespace soup
