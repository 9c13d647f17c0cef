// A whole experiment, stage by stage.
#include "experiments/run.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "experiments/data_stages.hpp"
#include "experiments/environment.hpp"
#include "experiments/evaluation_stages.hpp"
#include "experiments/preflight.hpp"
#include "experiments/run_context.hpp"
#include "experiments/soup_stages.hpp"
#include "experiments/training_stages.hpp"
#include "launch/gpu_inventory.hpp"
#include "trainer/device.hpp"

namespace soup {

namespace {

// Checks, then the files that say what this run is. By the first rank.
void prepare(const Experiment& experiment, const RunRequest& request, int ranks, const GpuInventory& gpus,
             ComputeDevice device, Log& log) {
  require_ready(experiment, ranks);
  std::filesystem::create_directories(experiment.run_folder);
  log.open_file(experiment.run_folder / "log.jsonl");
  write_file_atomically(experiment.run_folder / "experiment.yaml", to_yaml(experiment));
  write_environment(experiment.run_folder / "environment.json", ranks, gpus, device, request.libraries);
  log.info(fmt::format("experiment {} ({}), run folder {}", experiment.name, digest_of(experiment).brief(),
                       experiment.run_folder.string()));
  log.event("run_started",
            {{"experiment", experiment.name}, {"digest", digest_of(experiment).hex()}, {"ranks", ranks}});
}

void run_stages(const RunContext& context, const RunRequest& request) {
  const bool all = request.goal == RunGoal::all;
  run_imports(context);
  if (request.goal == RunGoal::scorer) {
    run_scorer(context);
    return;
  }
  run_duplicates(context);
  const bool ingredients = all || request.goal == RunGoal::ingredients;
  if (ingredients) {
    check_ingredients(context, request.shard);
  }
  run_base(context);
  if (ingredients) {
    run_ingredients(context, request.shard);
  }
  if (all) {
    run_soups(context);
  }
  if (all || request.goal == RunGoal::paragons) {
    run_paragons(context);
  }
  if (all || request.goal == RunGoal::evaluation) {
    run_evaluation(context);
  }
  if (all) {
    run_report(context);
  }
}

}  // namespace

void run_experiment(const Experiment& experiment, const RunRequest& request, std::unique_ptr<Communicator> world,
                    Log& log) {
  const auto start = std::chrono::steady_clock::now();
  const bool first = world->rank() == 0;
  const c10::Device device = agreed(*world, [&] {
    // By every rank: their hosts may differ.
    const GpuInventory gpus = probe_gpus();
    if (const std::optional<Error> problem = nccl_problem(gpus)) {
      throw *problem;
    }
    const ComputeDevice chosen = choose_device(experiment.launch.device, gpus, request.local_rank);
    if (first) {
      prepare(experiment, request, world->size(), gpus, chosen, log);
      log.info("networks compute on " + describe(chosen, gpus));
    }
    return use_device(chosen, experiment.launch.deterministic);
  });
  if (!first) {
    log.open_file(experiment.run_folder / "log.jsonl");
  }
  const RunContext context = make_context(experiment, std::move(world), request.local_ranks, device, log);
  at::set_num_threads(context.threads());
  if (first && !experiment.data.shards.empty()) {
    std::vector<std::string> names;
    for (const ShardSpec& shard : experiment.data.shards) {
      names.push_back(shard.name);
    }
    log.info("ranks, groups and shards:\n" + context.topology.describe(names));
  }
  run_stages(context, request);
  if (first) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    log.event("run_done", {{"seconds", seconds}});
    log.info("finished in " + human_seconds(seconds));
  }
}

}  // namespace soup
