// A queue from which the groups of one job take work.
#include "launch/work_queue.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/process_identity.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// O_EXCL is atomic between the hosts of NFS 3 and later and of Lustre. False: another has made it.
bool claim(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    if (errno == EEXIST) {
      return false;
    }
    throw DataError(file, "cannot be made: " + errno_text(errno), errno_hint(errno));
  }
  FileDescriptor(descriptor).close(file);
  return true;
}

}  // namespace

WorkQueue::WorkQueue(fs::path folder, Communicator& world) : folder_(std::move(folder)) {
  const std::string name =
      broadcast_text(world,
                     agreed(world,
                            [&]() -> std::string {
                              if (world.rank() != 0) {
                                return {};
                              }
                              // Of no other job: claims of one that was killed must not count.
                              const auto now = std::chrono::system_clock::now().time_since_epoch().count();
                              const ProcessIdentity process = this_process();
                              std::string unique = fmt::format("{}-{}-{}", process.host, process.pid, now);
                              std::error_code error;
                              fs::remove_all(folder_, error);
                              fs::create_directories(folder_ / unique, error);
                              if (error) {
                                throw DataError(folder_ / unique, "cannot be made: " + error.message());
                              }
                              return unique;
                            }),
                     0);
  claims_ = folder_ / name;
}

std::optional<std::size_t> WorkQueue::take(std::span<const std::size_t> order, Communicator& group) {
  std::int64_t taken = agreed(group, [&]() -> std::int64_t {
    if (group.rank() == 0) {
      for (const std::size_t work : order) {
        if (claim(claims_ / std::to_string(work))) {
          return static_cast<std::int64_t>(work);
        }
      }
    }
    return -1;
  });
  group.broadcast(std::as_writable_bytes(std::span(&taken, 1)), 0);
  return taken < 0 ? std::nullopt : std::optional(static_cast<std::size_t>(taken));
}

void WorkQueue::close(Communicator& world) {
  world.barrier();
  if (world.rank() == 0) {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
}

}  // namespace soup
