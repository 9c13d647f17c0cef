// One rank of a job that goes wrong in the way its argument names; job_end_test looks at how the job ends.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include "core/error.hpp"
#include "core/signals.hpp"
#include "launch/mpi_runtime.hpp"
#include "launch/watchdog.hpp"

int main(int argc, char** argv) {
  const std::string fault = argc > 1 ? argv[1] : "";
  soup::MpiRuntime runtime(argc, argv);
  if (fault == "throw_past_run") {
    const auto world = runtime.world();
    try {
      if (world->rank() == 1) {
        const soup::MpiRuntime* owner = &runtime;
        throw soup::DataError("/shard/1", owner->launched() ? "torn" : "not launched");
      }
      world->barrier();
    } catch (const soup::DataError& error) {
      std::fprintf(stderr, "%s\n", error.what());
      runtime.abort(static_cast<int>(error.exit_code()));
    }
    return 0;
  }
  soup::install_stop_signals();
  return runtime.run([&]() -> int {
    const auto watchdog = std::make_shared<soup::Watchdog>(std::chrono::seconds(fault == "stuck" ? 2 : 0));
    const auto world = soup::watched(runtime.world(), watchdog, "world");
    const bool faulty = world->rank() == 1;
    if (fault == "throw" && faulty) {
      throw soup::DataError("/shard/1", "torn", "fetch it again");
    }
    if (fault == "agreed") {
      soup::agreed(*world, [&] {
        if (faulty) {
          throw soup::DataError("/shard/1", "torn", "fetch it again");
        }
      });
    }
    if (fault == "killed" && faulty) {
      _exit(9);
    }
    if (fault == "shot" && faulty) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the others are in the barrier
      std::raise(SIGKILL);
    }
    if (fault == "segmentation" && faulty) {
      std::raise(SIGSEGV);
    }
    if (fault == "stuck" && faulty) {
      std::this_thread::sleep_for(std::chrono::seconds(60));
    }
    if (fault == "late" && faulty) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      return 0;  // the others wait for the end of the job as long as it takes
    }
    if (fault != "late") {
      world->barrier();
    }
    return 0;
  });
}
