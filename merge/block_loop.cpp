// Tensors worked off in blocks by several threads, in bounded memory, stopping at the first error or signal.
#include "merge/block_loop.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "core/signals.hpp"

namespace soup {

namespace {

// Hands out blocks in order, and keeps the error of the earliest.
class Blocks {
 public:
  Blocks(std::span<const WeightTensor> tensors, std::uint64_t block_elements)
      : tensors_(tensors), block_elements_(block_elements) {}

  // The next block and its number; false when there is none or the work has stopped.
  bool next(Block& block, std::uint64_t& number) {
    const std::scoped_lock lock(mutex_);
    while (tensor_ < tensors_.size() && first_ >= tensors_[tensor_].elements) {
      ++tensor_;
      first_ = 0;
    }
    if (error_ || tensor_ == tensors_.size()) {
      return false;
    }
    block = {tensor_, first_, std::min(block_elements_, tensors_[tensor_].elements - first_)};
    first_ += block.count;
    number = number_++;
    return true;
  }

  void done(const Block& block, const std::function<void(std::uint64_t)>& progress) {
    const std::scoped_lock lock(mutex_);
    bytes_ += block.count * size_of(tensors_[block.tensor].dtype);
    if (progress && !error_) {
      progress(bytes_);
    }
  }

  void failed(std::uint64_t number, std::exception_ptr error) {
    const std::scoped_lock lock(mutex_);
    if (!error_ || number < failed_) {
      error_ = std::move(error);
      failed_ = number;
    }
  }

  void rethrow() const {
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

 private:
  std::span<const WeightTensor> tensors_;
  std::uint64_t block_elements_;
  std::mutex mutex_;
  std::size_t tensor_ = 0;
  std::uint64_t first_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t bytes_ = 0;
  std::exception_ptr error_;
  std::uint64_t failed_ = 0;
};

}  // namespace

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

void BlockLoop::run(std::span<const WeightTensor> tensors,
                    const std::function<Work(std::size_t thread)>& make_work) const {
  SOUP_REQUIRE(threads >= 1 && block_elements >= 1, "a loop without threads or with empty blocks");
  Blocks blocks(tensors, block_elements);
  const auto work_off = [&](std::size_t thread) {
    std::uint64_t number = 0;
    try {
      const Work work = make_work(thread);
      for (Block block; blocks.next(block, number);) {
        if (heeds_stop && stop_requested()) {
          throw Interrupted("stopped by a signal; nothing was written under the final name");
        }
        work(block);
        blocks.done(block, progress);
      }
    } catch (...) {
      blocks.failed(number, std::current_exception());
    }
  };
  {
    std::vector<std::jthread> others;
    for (int thread = 1; thread < threads; ++thread) {
      others.emplace_back(work_off, static_cast<std::size_t>(thread));
    }
    work_off(0);
  }
  blocks.rethrow();
}

}  // namespace soup
