// The ceiling of a merge on this machine: plain copies of all inputs into a buffer, and one output of their size.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t block_bytes = std::size_t{256} << 10;

[[noreturn]] void fail(std::string_view what) {
  std::perror(std::string(what).c_str());
  std::exit(3);
}

}  // namespace

// usage: soup_bench_copies OUTPUT THREADS INPUT...
int main(int argc, char** argv) {
  int threads = 0;
  if (argc < 4 || std::from_chars(argv[2], argv[2] + std::string_view(argv[2]).size(), threads).ec != std::errc() ||
      threads < 1) {
    fmt::print(stderr, "usage: {} OUTPUT THREADS INPUT...\n", argv[0]);
    return 2;
  }
  std::vector<int> inputs;
  for (int i = 3; i < argc; ++i) {
    inputs.push_back(::open(argv[i], O_RDONLY));
    if (inputs.back() < 0) {
      fail(argv[i]);
    }
  }
  struct stat status {};
  if (::fstat(inputs.front(), &status) != 0) {
    fail(argv[3]);
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const int output = ::open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (output < 0 || ::ftruncate(output, status.st_size) != 0) {
    fail(argv[1]);
  }
  std::atomic<std::uint64_t> next{0};
  const auto work = [&] {
    std::vector<std::byte> buffer(block_bytes);
    for (std::uint64_t at = next.fetch_add(block_bytes); at < size; at = next.fetch_add(block_bytes)) {
      const std::size_t count = std::min<std::uint64_t>(block_bytes, size - at);
      for (const int input : inputs) {
        if (::pread(input, buffer.data(), count, static_cast<off_t>(at)) != static_cast<ssize_t>(count)) {
          fail("read");
        }
      }
      if (::pwrite(output, buffer.data(), count, static_cast<off_t>(at)) != static_cast<ssize_t>(count)) {
        fail("write");
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (int thread = 1; thread < threads; ++thread) {
      others.emplace_back(work);
    }
    work();
  }
  return ::close(output) == 0 ? 0 : 3;
}
