// Blocks dealt to threads: each element once, in bounds, the earliest error wins, progress only grows.
#include "merge/block_loop.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <mutex>
#include <vector>

#include "core/error.hpp"
#include "core/signals.hpp"

namespace soup {
namespace {

std::vector<WeightTensor> tensors_of(const std::vector<std::uint64_t>& sizes) {
  std::vector<WeightTensor> tensors;
  for (const std::uint64_t size : sizes) {
    tensors.push_back({fmt::format("t{}", tensors.size()), DType::f32, {static_cast<std::int64_t>(size)}, size, 0});
  }
  return tensors;
}

TEST(BlockLoop, GivesEveryElementOnce) {
  const std::vector<WeightTensor> tensors = tensors_of({0, 10, 1, 0, 27, 9, 0});
  for (const int threads : {1, 2, 5}) {
    BlockLoop loop;
    loop.threads = threads;
    loop.block_elements = 9;
    std::vector<std::uint64_t> reported;
    loop.progress = [&](std::uint64_t bytes) { reported.push_back(bytes); };
    std::vector<std::vector<int>> seen;
    for (const WeightTensor& tensor : tensors) {
      seen.emplace_back(tensor.elements, 0);
    }
    std::mutex mutex;
    std::size_t workers = 0;
    loop.run(tensors, [&](std::size_t) {
      {
        const std::scoped_lock lock(mutex);
        ++workers;
      }
      return [&](const Block& block) {
        const std::scoped_lock lock(mutex);
        EXPECT_GT(block.count, 0u);
        EXPECT_LE(block.count, 9u);
        EXPECT_EQ(block.first % 9, 0u);
        for (std::uint64_t i = 0; i < block.count; ++i) {
          ++seen.at(block.tensor).at(block.first + i);
        }
      };
    });
    EXPECT_EQ(workers, static_cast<std::size_t>(threads));
    for (const std::vector<int>& tensor : seen) {
      EXPECT_THAT(tensor, testing::Each(1));
    }
    EXPECT_TRUE(std::ranges::is_sorted(reported));
    EXPECT_EQ(reported.back(), 47u * 4);
  }
}

TEST(BlockLoop, ThrowsTheEarliestError) {
  const std::vector<WeightTensor> tensors = tensors_of({1000});
  for (const int threads : {1, 2, 8}) {
    BlockLoop loop;
    loop.threads = threads;
    loop.block_elements = 10;
    const auto failing = [](const Block& block) {
      if (block.first >= 300) {
        throw DataError("block", fmt::format("{}", block.first));
      }
    };
    try {
      loop.run(tensors, [&](std::size_t) { return failing; });
      FAIL();
    } catch (const DataError& error) {
      EXPECT_STREQ(error.what(), "block: 300") << threads << " threads";
    }
  }
}

TEST(BlockLoop, WhatCannotEvenStartIsThrownToo) {
  BlockLoop loop;
  loop.threads = 3;
  const std::vector<WeightTensor> tensors = tensors_of({5});
  EXPECT_THROW(loop.run(tensors, [](std::size_t) -> BlockLoop::Work { throw DataError("x", "y"); }), DataError);
  EXPECT_NO_THROW(loop.run({}, [](std::size_t) { return [](const Block&) { FAIL(); }; }));
}

// Last: the signal stays requested in this process.
TEST(BlockLoopSignal, StopsTheLoop) {
  install_stop_signals();
  BlockLoop loop;
  loop.block_elements = 1;
  int blocks = 0;
  const std::vector<WeightTensor> tensors = tensors_of({100});
  EXPECT_THROW(loop.run(tensors,
                        [&](std::size_t) {
                          return [&](const Block&) {
                            if (++blocks == 3) {
                              std::raise(SIGTERM);
                            }
                          };
                        }),
               Interrupted);
  EXPECT_EQ(blocks, 3);
  loop.heeds_stop = false;
  EXPECT_NO_THROW(loop.run(tensors, [&](std::size_t) { return [&](const Block&) { ++blocks; }; }));
  EXPECT_EQ(blocks, 103);
}

}  // namespace
}  // namespace soup
