// The contract of Communicator: at any number of ranks, whole and in pieces.
#include "tests/launch/communicator_contract.hpp"

#include <array>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "tests/launch/mpi_main.hpp"

namespace soup::test {
namespace {

TEST_P(Contract, KnowsItsRanks) {
  ASSERT_GE(rank_, 0);
  ASSERT_LT(rank_, size_);
  if (comm_->backend() != "self") {
    EXPECT_EQ(size_, world().size());
    EXPECT_EQ(rank_, world().rank());
  }
}

template <typename T>
void check_sum(Communicator& comm, std::size_t count, int triangle) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<T>((comm.rank() + 1) * static_cast<int>(i % 1000));
  }
  comm.all_reduce_sum(std::span(values));
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(values[i], static_cast<T>(triangle * static_cast<int>(i % 1000))) << "element " << i << " of " << count;
  }
}

TEST_P(Contract, SumsAreExactForSmallIntegers) {
  for (const std::size_t count : {0, 1, 2, 3, 4, 7, 1000}) {
    check_sum<float>(*comm_, count, triangle());
    check_sum<double>(*comm_, count, triangle());
    check_sum<std::int64_t>(*comm_, count, triangle());
  }
}

TEST_P(Contract, SumsGoOnTheirWayTogetherAndBesideOtherCalls) {
  constexpr std::size_t count = 1000;
  std::vector<std::vector<float>> values(5);
  std::vector<std::unique_ptr<PendingSum>> pending;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i].assign(i == 3 ? 0 : count + i, static_cast<float>((rank_ + 1) * static_cast<int>(i + 1)));
    pending.push_back(comm_->start_sum(values[i]));
  }
  // One rank comes late, and all have another collective on the way.
  if (rank_ == size_ - 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (const std::unique_ptr<PendingSum>& sum : pending) {
    sum->wait();
    EXPECT_TRUE(sum->test());
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values[i],
              std::vector<float>(values[i].size(), static_cast<float>(triangle() * static_cast<int>(i + 1))));
  }
  check_sum<float>(*comm_, 10, triangle());
}

TEST_P(Contract, Int64SumsUseAll64Bits) {
  std::int64_t value = (std::int64_t{1} << 60) + rank_;
  comm_->all_reduce_sum(std::span(&value, 1));
  EXPECT_EQ(value, size_ * (std::int64_t{1} << 60) + size_ * (size_ - 1) / 2);
}

TEST_P(Contract, MaximaFindEachRank) {
  std::vector<double> doubles(static_cast<std::size_t>(size_), -1.5);
  std::vector<std::int64_t> integers(static_cast<std::size_t>(size_), -7);
  doubles[static_cast<std::size_t>(rank_)] = rank_ + 0.25;
  integers[static_cast<std::size_t>(rank_)] = rank_ - 3;
  comm_->all_reduce_max(std::span(doubles));
  comm_->all_reduce_max(std::span(integers));
  for (int r = 0; r < size_; ++r) {
    EXPECT_EQ(doubles[static_cast<std::size_t>(r)], r + 0.25);
    EXPECT_EQ(integers[static_cast<std::size_t>(r)], r - 3);
  }
}

TEST_P(Contract, GathersInOrderOfRank) {
  for (const std::size_t count : {0, 1, 3, 4, 10, 500}) {
    std::vector<std::byte> mine(count);
    std::vector<std::byte> all(count * static_cast<std::size_t>(size_));
    for (std::size_t i = 0; i < count; ++i) {
      mine[i] = static_cast<std::byte>(i * 7 + static_cast<std::size_t>(rank_) + 1);
    }
    comm_->all_gather(mine, all);
    for (std::size_t k = 0; k < all.size(); ++k) {
      ASSERT_EQ(all[k], static_cast<std::byte>((k % count) * 7 + k / count + 1)) << k << " of " << all.size();
    }
  }
}

TEST_P(Contract, BroadcastsFromEveryRoot) {
  for (int root = 0; root < size_; ++root) {
    for (const std::size_t count : {0, 1, 5, 301}) {
      std::vector<std::byte> bytes(count, static_cast<std::byte>(rank_ + 1));
      comm_->broadcast(bytes, root);
      EXPECT_EQ(bytes, std::vector<std::byte>(count, static_cast<std::byte>(root + 1)));
    }
  }
}

TEST_P(Contract, BarrierWaitsForTheLastRank) {
  const auto start = std::chrono::steady_clock::now();
  if (rank_ == size_ - 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  comm_->barrier();
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(size_ > 1 && rank_ != size_ - 1 ? 50 : 0));
}

TEST_P(Contract, SplitsByColourAndOrdersByKey) {
  // Colours alternate and keys reverse the order.
  const std::unique_ptr<Communicator> part = comm_->split(rank_ % 2, -rank_);
  int members = 0;
  int before = 0;
  for (int r = rank_ % 2; r < size_; r += 2) {
    ++members;
    before += r > rank_ ? 1 : 0;
  }
  EXPECT_EQ(part->size(), members);
  EXPECT_EQ(part->rank(), before);
  std::int64_t sum = rank_;
  part->all_reduce_sum(std::span(&sum, 1));
  std::int64_t expected = 0;
  for (int r = rank_ % 2; r < size_; r += 2) {
    expected += r;
  }
  EXPECT_EQ(sum, expected);
}

TEST_P(Contract, TextsOfAnyLength) {
  const std::string mine(static_cast<std::size_t>(rank_) * 100, static_cast<char>('a' + rank_));
  const std::vector<std::string> all = all_gather_text(*comm_, mine);
  ASSERT_EQ(all.size(), static_cast<std::size_t>(size_));
  for (int r = 0; r < size_; ++r) {
    EXPECT_EQ(all[static_cast<std::size_t>(r)],
              std::string(static_cast<std::size_t>(r) * 100, static_cast<char>('a' + r)));
  }
  for (int root = 0; root < size_; ++root) {
    const std::string text = broadcast_text(*comm_, "from " + std::to_string(rank_) + mine, root);
    EXPECT_TRUE(text.starts_with("from " + std::to_string(root)));
    EXPECT_EQ(text.size(), 6 + static_cast<std::size_t>(root) * 100);
  }
  EXPECT_EQ(broadcast_text(*comm_, "", 0), "");
  EXPECT_EQ(all_gather_text(*comm_, "").back(), "");
}

// What every rank catches when `thrower` throws `error`.
template <typename E>
E caught(Communicator& comm, int thrower, const E& error) {
  try {
    agreed(comm, [&] {
      if (comm.rank() == thrower) {
        throw error;
      }
    });
  } catch (const E& mine) {
    return mine;
  }
  throw std::runtime_error("no error of that class");
}

TEST_P(Contract, OneRanksErrorIsEverybodys) {
  for (int thrower = 0; thrower < size_; ++thrower) {
    const std::string other = rank_ == thrower ? "" : "rank " + std::to_string(thrower) + ": ";
    const DataError data = caught(*comm_, thrower, DataError("/data/x", "torn", "fetch it again"));
    EXPECT_EQ(data.message(), other + "/data/x: torn");
    EXPECT_EQ(data.hint(), "fetch it again");
    const ConfigError config = caught(*comm_, thrower, ConfigError("a.yaml:3", "data.x", "is 7", "be 8"));
    EXPECT_EQ(config.message(), other + "a.yaml:3: data.x: is 7");
    EXPECT_EQ(config.hint(), "be 8");
    EXPECT_EQ(caught(*comm_, thrower, CommError("barrier", "late")).message(), other + "barrier: late");
    EXPECT_EQ(caught(*comm_, thrower, InvariantError("one")).message(), "a bug in soup: " + other + "one");
    EXPECT_EQ(caught(*comm_, thrower, Interrupted("stopped at 7")).exit_code(), ExitCode::interrupted);
  }
}

TEST_P(Contract, TheLowestRanksErrorWins) {
  try {
    agreed(*comm_, [&] { throw DataError("/shard/" + std::to_string(rank_), "empty"); });
    FAIL() << "all ranks threw";
  } catch (const DataError& error) {
    EXPECT_EQ(error.message(), rank_ == 0 ? "/shard/0: empty" : "rank 0: /shard/0: empty");
  }
}

TEST_P(Contract, ForeignExceptionsAreAgreedToo) {
  const int thrower = size_ - 1;
  try {
    agreed(*comm_, [&] {
      if (rank_ == thrower) {
        throw std::bad_alloc();
      }
    });
    FAIL() << "a rank threw";
  } catch (const std::bad_alloc&) {
    EXPECT_EQ(rank_, thrower);
  } catch (const InvariantError& error) {
    EXPECT_NE(rank_, thrower);
    EXPECT_NE(error.message().find("std::bad_alloc"), std::string::npos);
  }
}

TEST_P(Contract, AgreedReturnsTheResult) {
  EXPECT_EQ(agreed(*comm_, [&] { return rank_ + 1; }), rank_ + 1);
  agree(*comm_, nullptr);
}

}  // namespace
}  // namespace soup::test
