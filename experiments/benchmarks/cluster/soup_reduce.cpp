// The soup of weights in memory, one ingredient a rank, beside plain MPI_Allreduce of as many bytes: of the weights,
// and of the soup's int64 sums. In turns; one JSON line a round.
#include <fmt/format.h>
#include <mpi.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/random.hpp"
#include "launch/mpi_communicator.hpp"
#include "launch/mpi_runtime.hpp"
#include "merge/soup.hpp"

namespace {

using Clock = std::chrono::steady_clock;

// Of the slowest rank.
template <typename Body>
double seconds_of(soup::Communicator& world, const Body& body) {
  world.barrier();
  const Clock::time_point start = Clock::now();
  body();
  double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  world.all_reduce_max(std::span(&seconds, 1));
  return seconds;
}

std::int64_t peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Anonymous memory alone: what ranks share with each other by MPI's segments is not theirs to answer for.
std::int64_t resident_kib() {
  const std::string status = soup::read_file("/proc/self/status");
  const std::size_t at = status.find("RssAnon:");
  return std::stoll(status.substr(at + 8));
}

template <typename T>
double plain(soup::Communicator& world, std::vector<T>& values, MPI_Datatype type, std::size_t call_elements) {
  return seconds_of(world, [&] {
    for (std::size_t done = 0; done < values.size(); done += call_elements) {
      const auto count = static_cast<int>(std::min(call_elements, values.size() - done));
      soup::check_mpi(MPI_Allreduce(MPI_IN_PLACE, values.data() + done, count, type, MPI_SUM, MPI_COMM_WORLD),
                      "MPI_Allreduce");
    }
  });
}

int bench(soup::MpiRuntime& mpi, std::size_t mebibytes, int rounds) {
  const auto world = mpi.world();
  const auto alone = soup::make_self_communicator();
  const std::size_t count = (mebibytes << 20) / sizeof(float);
  soup::TensorLayout layout;
  layout.append("weights", {static_cast<std::int64_t>(count / 4096), 4096});
  std::vector<float> weights(count);
  soup::RandomStream(1, static_cast<std::uint64_t>(world->rank())).fill_normal(weights);
  const std::vector<soup::SoupIngredient> mine = {{fmt::format("shard{}", world->rank()), 1, soup::resident(weights)}};
  std::vector<float> soup(count);
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t before = resident_kib();
    std::int64_t most = 0;
    const double ours = seconds_of(*world, [&] {
      const auto keep = [&](std::uint64_t offset, std::span<const std::int64_t>, std::span<const float> floats) {
        std::ranges::copy(floats, soup.begin() + static_cast<std::ptrdiff_t>(offset));
        most = std::max(most, resident_kib());
      };
      soup::make_soup({.all = *world, .group = *alone, .across = *world}, layout, soup::Digest{}, {.ingredients = mine},
                      {}, keep);
    });
    // In one call, and as 1 GiB calls of int64: one of 2 GiB would need another 2 GiB of scratch in each rank.
    std::ranges::copy(weights, soup.begin());
    const double floats = plain(*world, soup, MPI_FLOAT, count);
    double sums = 0.0;
    {
      std::vector<std::int64_t> values(count / 2, 1);
      sums = 2.0 * plain(*world, values, MPI_INT64_T, values.size());
    }
    std::int64_t working = most - before;
    world->all_reduce_max(std::span(&working, 1));
    if (world->rank() == 0) {
      fmt::print(
          "{{\"ranks\":{},\"mib\":{},\"soup\":{:.3f},\"allreduce_float\":{:.3f},\"allreduce_int64\":{:.3f},"
          "\"working_mib\":{},\"peak_mib\":{}}}\n",
          world->size(), mebibytes, ours, floats, sums, working / 1024, peak_kib() / 1024);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  soup::MpiRuntime mpi(argc, argv);
  return mpi.run([&] {
    CLI::App app("Times the soup of weights in memory beside plain MPI_Allreduce.");
    std::size_t mebibytes = 1024;
    int rounds = 5;
    app.add_option("--mib", mebibytes, "Weights of one model")->capture_default_str();
    app.add_option("--rounds", rounds)->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    return bench(mpi, mebibytes, rounds);
  });
}
