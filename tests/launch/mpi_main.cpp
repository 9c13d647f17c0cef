// main of tests that run under mpirun: it owns MPI, shows rank 0's progress and every rank's failures.
#include "tests/launch/mpi_main.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "launch/mpi_runtime.hpp"
#include "launch/watchdog.hpp"

namespace soup::test {

namespace {

Communicator* current_world = nullptr;
std::shared_ptr<Watchdog> current_watchdog;

class FailuresOfRank final : public testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) {
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", world().rank(), result.file_name() ? result.file_name() : "",
                   result.line_number(), result.message());
    }
  }
};

}  // namespace

Communicator& world() {
  return *current_world;
}

std::shared_ptr<Watchdog> watchdog() {
  return current_watchdog;
}

}  // namespace soup::test

int main(int argc, char** argv) {
  soup::MpiRuntime runtime(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return runtime.run([&] {
    // A rank that leaves a test early leaves the others waiting: the watchdog then ends the job with a message.
    const auto watchdog = std::make_shared<soup::Watchdog>(std::chrono::seconds(20));
    const std::unique_ptr<soup::Communicator> world = soup::watched(runtime.world(), watchdog, "test");
    const char* asked = std::getenv("OMPI_COMM_WORLD_SIZE");
    if (asked == nullptr || world->size() != std::atoi(asked)) {
      std::fprintf(stderr, "this test runs under mpirun and needs all its ranks in one job\n");
      return 1;
    }
    soup::test::current_world = world.get();
    soup::test::current_watchdog = watchdog;
    if (world->rank() != 0) {
      auto& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new soup::test::FailuresOfRank);
    }
    return RUN_ALL_TESTS();
  });
}
