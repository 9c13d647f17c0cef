// Tensors worked off in blocks by several threads, in bounded memory, stopping at the first error or signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "merge/weights.hpp"

namespace soup {

// Elements [first, first + count) of a tensor.
struct Block {
  std::size_t tensor = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

// Processors that this process may run on.
[[nodiscard]] int usable_threads();

struct BlockLoop {
  int threads = 1;
  std::uint64_t block_elements = 65536;  // a multiple of digest_block_elements where blocks are hashed
  // Throw Interrupted when a stop signal has come. Not where ranks must stay together: they agree on a stop elsewhere.
  bool heeds_stop = true;
  // Called with the bytes done so far, by one thread at a time.
  std::function<void(std::uint64_t)> progress;

  using Work = std::function<void(const Block&)>;
  // `make_work` is called once per thread, in that thread, and its result then for each block that the thread gets;
  // blocks are handed out in order. When calls throw, the error of the earliest block is thrown on, whatever the number
  // of threads.
  void run(std::span<const WeightTensor> tensors, const std::function<Work(std::size_t thread)>& make_work) const;
};

}  // namespace soup
