// The contract over Self and MPI, and what MPI alone promises.
#include <gtest/gtest.h>
#include <mpi.h>

#include <array>

#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "launch/mpi_communicator.hpp"
#include "tests/launch/communicator_contract.hpp"
#include "tests/launch/mpi_main.hpp"

namespace soup::test {

INSTANTIATE_TEST_SUITE_P(
    Backends, Contract,
    testing::Values(
        Backend{"self", [] { return make_self_communicator(); }},
        Backend{"mpi",
                []() -> std::unique_ptr<Communicator> { return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD); }},
        Backend{"mpi_in_pieces",
                []() -> std::unique_ptr<Communicator> { return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, 3); }},
        Backend{"split", []() -> std::unique_ptr<Communicator> { return world().split(0, 0); }}),
    [](const auto& backend) { return std::string(backend.param.name); });

namespace {

// Beyond the size at which MPI changes its algorithms and fills its buffers.
TEST(MpiCommunicator, LargeMessagesInFewPieces) {
  MpiCommunicator comm(MPI_COMM_WORLD, 300'000);
  std::vector<std::int64_t> values(1'000'003);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = (comm.rank() + 1) * static_cast<std::int64_t>(i % 1000);
  }
  comm.all_reduce_sum(std::span(values));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(values[i], comm.size() * (comm.size() + 1) / 2 * static_cast<std::int64_t>(i % 1000)) << i;
  }
}

TEST(MpiCommunicator, DifferentCallsAreRefusedOnAllRanks) {
  MpiCommunicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) {
    EXPECT_NO_THROW(comm.barrier());
    return;
  }
  std::vector<std::byte> bytes(8);
  try {
    if (comm.rank() == 0) {
      comm.barrier();
    } else {
      comm.broadcast(bytes, 0);
    }
    FAIL() << "a barrier met a broadcast";
  } catch (const CommError& error) {
    EXPECT_NE(error.message().find("broadcast and barrier"), std::string::npos) << error.what();
  }
  std::vector<float> values(comm.rank() == 0 ? 5 : 6);
  try {
    comm.all_reduce_sum(std::span(values));
    FAIL() << "5 elements met 6";
  } catch (const CommError& error) {
    EXPECT_NE(error.message().find("element counts: 5 to 6"), std::string::npos) << error.what();
  }
  EXPECT_THROW(comm.broadcast(bytes, comm.rank() == 0 ? 0 : 1), CommError);
}

TEST(MpiCommunicator, ErrorsNameCallTextAndHost) {
  try {
    check_mpi(MPI_ERR_TRUNCATE, "MPI_Iallreduce");
    FAIL() << "an MPI error";
  } catch (const CommError& error) {
    EXPECT_NE(error.message().find("MPI_Iallreduce"), std::string::npos);
    EXPECT_NE(error.message().find("MPI_ERR_TRUNCATE"), std::string::npos) << error.what();
    EXPECT_NE(error.message().find(host_name()), std::string::npos);
  }
}

TEST(MpiCommunicator, WrongBuffersAreBugs) {
  MpiCommunicator comm(MPI_COMM_WORLD);
  std::vector<std::byte> mine(3);
  std::vector<std::byte> all(static_cast<std::size_t>(comm.size()) * 3 + 1);
  EXPECT_THROW(comm.all_gather(mine, all), InvariantError);
  EXPECT_THROW(comm.broadcast(mine, comm.size()), InvariantError);
  EXPECT_THROW(static_cast<void>(comm.split(-1, 0)), InvariantError);
}

}  // namespace
}  // namespace soup::test
