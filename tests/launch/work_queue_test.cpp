// Work taken by groups that do not talk to each other: each piece once, whatever the groups' sizes and pace.
#include "launch/work_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <numeric>
#include <thread>

#include "core/error.hpp"
#include "tests/launch/mpi_main.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

class WorkQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    if (comm_.rank() == 0) {
      folder_ = std::make_unique<test::TemporaryFolder>();
    }
    path_ = broadcast_text(comm_, folder_ ? folder_->path().string() : "", 0);
  }
  void TearDown() override { comm_.barrier(); }

  Communicator& comm_ = test::world();
  std::unique_ptr<test::TemporaryFolder> folder_;
  fs::path path_;
};

TEST_F(WorkQueueTest, EveryPieceIsTakenOnce) {
  constexpr std::size_t pieces = 23;
  // Groups of different sizes: rank 0 alone, then pairs.
  const auto group = comm_.split((comm_.rank() + 1) / 2, comm_.rank());
  std::vector<std::size_t> order(pieces);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (comm_.rank() == 0) {
    std::ranges::reverse(order);
  }
  WorkQueue queue(path_ / "claims", comm_);
  std::vector<std::int64_t> taken(pieces, 0);
  while (const auto piece = queue.take(order, *group)) {
    taken.at(*piece) += group->rank() == 0 ? 1 : 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(comm_.rank()));
  }
  queue.close(comm_);
  comm_.all_reduce_sum(std::span(taken));
  EXPECT_EQ(taken, std::vector<std::int64_t>(pieces, 1));
  comm_.barrier();
  EXPECT_FALSE(fs::exists(path_ / "claims"));
}

TEST_F(WorkQueueTest, ClaimsOfAJobThatWasKilledDoNotCount) {
  const std::vector<std::size_t> order = {0, 1};
  std::int64_t taken = 0;
  {
    WorkQueue killed(path_ / "claims", comm_);
    taken = killed.take(order, comm_).has_value() ? 1 : 0;
    EXPECT_EQ(taken, 1);
  }
  WorkQueue queue(path_ / "claims", comm_);
  EXPECT_EQ(queue.take(order, comm_), 0U);
  EXPECT_EQ(queue.take(order, comm_), 1U);
  EXPECT_EQ(queue.take(order, comm_), std::nullopt);
  queue.close(comm_);
}

TEST_F(WorkQueueTest, APlaceThatCannotBeWrittenIsAnErrorOnAllRanks) {
  if (comm_.rank() == 0) {
    std::ofstream(path_ / "claims") << "a file";
    fs::create_directories(path_ / "there");
  }
  comm_.barrier();
  EXPECT_THROW(WorkQueue(path_ / "claims" / "below", comm_), DataError);
  WorkQueue queue(path_ / "there" / "claims", comm_);
  comm_.barrier();
  if (comm_.rank() == 0) {
    fs::remove_all(path_ / "there");
  }
  comm_.barrier();
  EXPECT_THROW(static_cast<void>(queue.take(std::vector<std::size_t>{0}, comm_)), DataError);
  comm_.barrier();
}

}  // namespace
}  // namespace soup
