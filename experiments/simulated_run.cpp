// What failures would cost an experiment's ingredients on so many ranks.
#include "experiments/simulated_run.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"
#include "experiments/text_table.hpp"

namespace soup {

std::vector<SimulatedWork> simulated_work(const Plan& plan, const Experiment& experiment,
                                          const SimulationOptions& options) {
  std::vector<SimulatedWork> work;
  for (const StagePlan& item : plan.stages) {
    if (item.stage.kind != StageKind::ingredient) {
      continue;
    }
    const ShardSpec& shard = shard_of(item.stage, experiment);
    const auto images = static_cast<double>(item.stage.images);
    const double rank_seconds =
        options.images_per_second > 0.0 ? images / options.images_per_second : item.seconds * item.ranks;
    if (rank_seconds <= 0.0) {
      throw ConfigError(fmt::format("how long shard {} trains is not known", shard.name),
                        "the base cannot be read: give --images-per-second, what one rank trains");
    }
    const TrainConfig train = train_config_of(item.stage, experiment);
    work.push_back({{shard.name, rank_seconds, ranks_of(shard, experiment)},
                    rank_seconds / images * static_cast<double>(train.checkpoint_images)});
  }
  return work;
}

namespace {

constexpr std::size_t table_width = 120;

std::string with_error(const SimulatedMean& value, double unit, int digits) {
  return value.error > 0.0 ? fmt::format("{:.{}f} ± {:.{}f}", value.mean / unit, digits, value.error / unit, digits)
                           : fmt::format("{:.{}f}", value.mean / unit, digits);
}

}  // namespace

std::string simulation_text(const Plan& plan, const Experiment& experiment, const SimulationOptions& options) {
  if (!plan.topology) {
    throw ConfigError(fmt::format("{} ranks do not form groups", plan.ranks), "see the plan without --simulate");
  }
  const std::vector<SimulatedWork> work = simulated_work(plan, experiment, options);
  if (work.empty()) {
    throw ConfigError("the experiment has no shards to train", "data.shards lists them");
  }
  constexpr double hour = 3600.0;
  constexpr double minute = 60.0;
  const std::vector<int>& groups = plan.topology->group_sizes;
  double shortest = work.front().work.rank_seconds;
  double longest = shortest;
  for (const SimulatedWork& item : work) {
    shortest = std::min(shortest, item.work.rank_seconds);
    longest = std::max(longest, item.work.rank_seconds);
  }
  const bool is_long = simulate(groups, work, {}, JobShape::world).makespan >= hour;
  const double unit = is_long ? hour : minute;
  const std::string units = is_long ? "hours" : "minutes";
  TextTable table("run as", {units, "rank " + units + " lost", "ranks idle, %", "failures"});
  const auto add = [&](const std::string& name, const Failures& failures, JobShape shape, int repeats) {
    const SimulatedRuns runs = simulate_often(groups, work, failures, shape, repeats);
    table.add_row(name, {with_error(runs.makespan, unit, 3), with_error(runs.lost_rank_seconds, unit, 2),
                         with_error(runs.idle_share, 0.01, 2), with_error(runs.failures, 1.0, 1)});
  };
  add("without failures", {}, JobShape::world, 1);
  add("one MPI job", options.failures, JobShape::world, options.repeats);
  add("a job per shard", options.failures, JobShape::per_shard, options.repeats);
  return fmt::format(
             "simulated: the ingredients of {} shards, {:.3f} to {:.3f} {} of one rank, on {} ranks in {} groups;\n"
             "{:g} failures an hour{}, {:g} s until what one ended trains again; means of {} runs and standard "
             "errors\n",
             work.size(), shortest / unit, longest / unit, units, plan.ranks, groups.size(), options.failures.per_hour,
             options.failures.planned.empty() ? "" : fmt::format(" and {} planned", options.failures.planned.size()),
             options.failures.restart_seconds, options.repeats) +
         table.text(table_width);
}

}  // namespace soup
