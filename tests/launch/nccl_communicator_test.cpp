// The contract over NCCL, in host memory and in GPU memory; on a GPU, also with several ranks on one.
#include "launch/nccl_communicator.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <array>
#include <cstring>
#include <vector>

#include "core/error.hpp"
#include "launch/cuda_objects.hpp"
#include "launch/mpi_communicator.hpp"
#include "tests/launch/communicator_contract.hpp"
#include "tests/launch/mpi_main.hpp"
#include "tests/launch/nccl_world.hpp"

namespace soup::test {

INSTANTIATE_TEST_SUITE_P(Nccl, Contract,
                         testing::Values(Backend{"whole", [] { return nccl_world(); }, "a GPU"},
                                         Backend{"in_pieces", [] { return nccl_world(0, 64); }, "a GPU"},
                                         Backend{"small_over_mpi", [] { return nccl_world(1000); }, "a GPU"},
                                         Backend{"split",
                                                 []() -> std::unique_ptr<Communicator> {
                                                   const std::unique_ptr<Communicator> all = nccl_world();
                                                   return all == nullptr ? nullptr : all->split(0, all->rank());
                                                 },
                                                 "a GPU"}),
                         [](const auto& backend) { return std::string(backend.param.name); });

namespace {

// Values in GPU memory.
template <typename T>
class OnGpu {
 public:
  explicit OnGpu(const std::vector<T>& values) : buffer_(std::max<std::size_t>(values.size(), 1) * sizeof(T)) {
    check_cuda(cudaMemcpy(buffer_.bytes().data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
               "cudaMemcpy");
    span_ = {reinterpret_cast<T*>(buffer_.bytes().data()), values.size()};
  }
  [[nodiscard]] std::span<T> span() const { return span_; }
  // Behind what the default stream holds.
  [[nodiscard]] std::vector<T> fetch() const {
    std::vector<T> values(span_.size());
    check_cuda(cudaMemcpy(values.data(), span_.data(), span_.size_bytes(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  GpuBuffer buffer_;
  std::span<T> span_;
};

class NcclTest : public testing::Test {
 protected:
  void SetUp() override {
    comm_ = nccl_world();
    if (comm_ == nullptr) {
      GTEST_SKIP() << "needs a GPU";
    }
  }
  [[nodiscard]] int triangle() const { return comm_->size() * (comm_->size() + 1) / 2; }
  // Values that differ by rank and whose sums are exact.
  template <typename T>
  [[nodiscard]] std::vector<T> values(std::size_t count, int factor) const {
    std::vector<T> result(count);
    for (std::size_t i = 0; i < count; ++i) {
      result[i] = static_cast<T>(factor * static_cast<int>(i % 1000));
    }
    return result;
  }

  std::unique_ptr<Communicator> comm_;
};

TEST_F(NcclTest, SumsAndMaximaOfGpuMemory) {
  EXPECT_TRUE(comm_->takes_gpu_memory());
  const auto check = [this]<typename T>(std::size_t count, T) {
    const OnGpu<T> sum(values<T>(count, comm_->rank() + 1));
    comm_->all_reduce_sum(sum.span());
    EXPECT_EQ(sum.fetch(), values<T>(count, triangle())) << count;
  };
  for (const std::size_t count : {1, 3, 1000, 1'000'003}) {
    check(count, float{});
    check(count, double{});
    check(count, std::int64_t{});
    const OnGpu<double> most(values<double>(count, comm_->rank() + 1));
    comm_->all_reduce_max(most.span());
    EXPECT_EQ(most.fetch(), values<double>(count, comm_->size()));
    const OnGpu<std::int64_t> largest(values<std::int64_t>(count, comm_->rank() + 1));
    comm_->all_reduce_max(largest.span());
    EXPECT_EQ(largest.fetch(), values<std::int64_t>(count, comm_->size()));
  }
}

TEST_F(NcclTest, SumsOnTheirWayFollowTheDefaultStreamAndAreFollowedByIt) {
  constexpr std::size_t count = 300'000;
  std::vector<std::unique_ptr<OnGpu<float>>> buffers;
  std::vector<std::unique_ptr<PendingSum>> pending;
  for (int i = 0; i < 5; ++i) {
    buffers.push_back(std::make_unique<OnGpu<float>>(std::vector<float>(count)));
    const OnGpu<float> source(values<float>(count, (comm_->rank() + 1) * (i + 1)));
    // Queued, not waited for: the sum must come after it.
    check_cuda(cudaMemcpyAsync(buffers.back()->span().data(), source.span().data(), source.span().size_bytes(),
                               cudaMemcpyDeviceToDevice, nullptr),
               "cudaMemcpyAsync");
    pending.push_back(comm_->start_sum(buffers.back()->span()));
  }
  for (const std::unique_ptr<PendingSum>& sum : pending) {
    sum->wait();
  }
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(buffers[static_cast<std::size_t>(i)]->fetch(), values<float>(count, triangle() * (i + 1)));
  }
  EXPECT_TRUE(pending.back()->test());
}

TEST_F(NcclTest, GathersAndBroadcastsGpuMemory) {
  const std::vector<std::byte> mine(1001, static_cast<std::byte>(comm_->rank() + 1));
  const OnGpu<std::byte> part(mine);
  const OnGpu<std::byte> all(std::vector<std::byte>(mine.size() * static_cast<std::size_t>(comm_->size())));
  comm_->all_gather(part.span(), all.span());
  const std::vector<std::byte> gathered = all.fetch();
  for (std::size_t i = 0; i < gathered.size(); ++i) {
    ASSERT_EQ(gathered[i], static_cast<std::byte>(i / mine.size() + 1)) << i;
  }
  for (int root = 0; root < comm_->size(); ++root) {
    const OnGpu<std::byte> bytes(mine);
    comm_->broadcast(bytes.span(), root);
    EXPECT_EQ(bytes.fetch(), std::vector<std::byte>(mine.size(), static_cast<std::byte>(root + 1)));
  }
}

TEST_F(NcclTest, Int64SumsOfHostMemoryAreMpis) {
  std::vector<std::int64_t> over_nccl(3'000'017);
  for (std::size_t i = 0; i < over_nccl.size(); ++i) {
    over_nccl[i] = static_cast<std::int64_t>((i * 0x9e3779b97f4a7c15ULL) >> 3) * (comm_->rank() % 2 == 0 ? 1 : -1);
  }
  std::vector<std::int64_t> over_mpi = over_nccl;
  comm_->all_reduce_sum(std::span(over_nccl));
  MpiCommunicator(MPI_COMM_WORLD).all_reduce_sum(std::span(over_mpi));
  EXPECT_EQ(over_nccl, over_mpi);
}

TEST_F(NcclTest, DifferentCallsAreRefusedOnAllRanks) {
  if (comm_->size() == 1) {
    return;
  }
  const OnGpu<float> buffer(std::vector<float>(6));
  EXPECT_THROW(comm_->all_reduce_sum(buffer.span().first(comm_->rank() == 0 ? 5 : 6)), CommError);
  std::vector<float> host(6);
  EXPECT_THROW(comm_->all_reduce_sum(std::span(host).first(comm_->rank() == 0 ? 5 : 6)), CommError);
}

TEST_F(NcclTest, WrongBuffersAreBugs) {
  std::vector<std::byte> mine(3);
  std::vector<std::byte> all(static_cast<std::size_t>(comm_->size()) * 3 + 1);
  EXPECT_THROW(comm_->all_gather(mine, all), InvariantError);
  EXPECT_THROW(comm_->broadcast(mine, comm_->size()), InvariantError);
  const OnGpu<std::byte> on_gpu(mine);
  EXPECT_THROW(comm_->all_gather(on_gpu.span(), std::span(all).first(all.size() - 1)), InvariantError);
}

}  // namespace
}  // namespace soup::test
