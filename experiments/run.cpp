// A whole experiment, stage by stage.
#include "experiments/run.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "core/signals.hpp"
#include "core/text.hpp"
#include "experiments/data_stages.hpp"
#include "experiments/environment.hpp"
#include "experiments/evaluation_stages.hpp"
#include "experiments/missing.hpp"
#include "experiments/preflight.hpp"
#include "experiments/run_context.hpp"
#include "experiments/soup_stages.hpp"
#include "experiments/stage_lock.hpp"
#include "experiments/training_stages.hpp"
#include "launch/collectives.hpp"
#include "launch/gpu_inventory.hpp"
#include "launch/nccl_communicator.hpp"
#include "trainer/device.hpp"

namespace soup {

namespace {

// The ranks' groups. What trains one shard, or uses all ranks, is given all of them.
std::vector<int> group_sizes(const Experiment& experiment, const RunRequest& request, int ranks) {
  const bool by_groups = request.goal == RunGoal::all || (request.goal == RunGoal::ingredients && !request.shard);
  return by_groups ? group_sizes_wanted(experiment) : std::vector<int>{request.shard ? ranks : 1};
}

// Jobs that run side by side write to files of their own: file systems of clusters keep no order between hosts.
std::filesystem::path log_file(const Experiment& experiment, const RunRequest& request) {
  const std::filesystem::path folder = experiment.run_folder / "logs";
  switch (request.goal) {
    case RunGoal::all:
      break;
    case RunGoal::scorer:
      return folder / "scorer.jsonl";
    case RunGoal::base:
      return folder / "base.jsonl";
    case RunGoal::ingredients:
      return folder / (request.shard ? "ingredient." + *request.shard + ".jsonl" : "ingredients.jsonl");
    case RunGoal::soups:
      return folder / "soup.jsonl";
    case RunGoal::paragons:
      return folder / "paragon.jsonl";
    case RunGoal::evaluation:
      return folder / "evaluate.jsonl";
  }
  return experiment.run_folder / "log.jsonl";
}

// Ranks of different programs or files would make a model of neither.
void check_same_program(const Experiment& experiment, Communicator& world) {
  const std::string mine =
      fmt::format("soup {} {}, experiment {}", soup_version(), soup_commit(), digest_of(experiment).brief());
  const std::vector<std::string> all = all_gather_text(world, mine);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] != all[0]) {
      throw ConfigError(fmt::format("rank 0 runs {}, but rank {} runs {}", all[0], rank, all[rank]),
                        "all hosts need the same program and the same files");
    }
  }
}

// Checks, then the files that say what this run is; returns the lock of a whole run's folder. By the first rank.
std::optional<FileLock> prepare(const Experiment& experiment, const RunRequest& request, int ranks,
                                const GpuInventory& gpus, ComputeDevice device, Log& log) {
  require_ready(experiment);
  std::optional<FileLock> lock;
  if (request.goal == RunGoal::all) {
    lock.emplace(take_lock(experiment.run_folder, "run", log));
    remove_partials_of_the_dead(experiment.run_folder);
  }
  const std::filesystem::path logs = log_file(experiment, request);
  std::filesystem::create_directories(logs.parent_path());
  log.open_file(logs);
  const std::filesystem::path environment = experiment.run_folder / "environment.json";
  if (request.goal == RunGoal::all || !std::filesystem::exists(environment)) {
    write_environment(environment, ranks, gpus, device, request.libraries);
  }
  write_file_atomically(experiment.run_folder / "experiment.yaml", to_yaml(experiment));
  log.info(fmt::format("experiment {} ({}), run folder {}", experiment.name, digest_of(experiment).brief(),
                       experiment.run_folder.string()));
  nlohmann::json started = to_json(this_process());
  started.update({{"experiment", experiment.name}, {"digest", digest_of(experiment).hex()}, {"ranks", ranks}});
  log.event("run_started", started);
  return lock;
}

// From here on the run is about the ingredients that there are: all, or those that `soup.on_missing` is content with.
// Decided by the first rank. Collective.
void settle_missing(RunContext& context) {
  constexpr auto between_looks = std::chrono::seconds(5);
  constexpr int looks_between_words = 60;
  const Experiment& experiment = context.experiment;
  const OnMissing policy = experiment.soup.on_missing;
  agreed(*context.patient, [&] {
    if (context.topology.rank != 0) {
      return;
    }
    std::vector<MissingIngredient> missing = unfinished_ingredients(experiment, context.stages);
    for (int looks = 0; policy == OnMissing::wait && !missing.empty(); ++looks) {
      if (looks % looks_between_words == 0) {
        context.log.info("waiting for ingredients: " + describe(missing));
      }
      if (stop_requested()) {
        throw Interrupted("stopped while waiting for ingredients: " + describe(missing));
      }
      std::this_thread::sleep_for(between_looks);
      missing = unfinished_ingredients(experiment, context.stages);
    }
    if (policy == OnMissing::fail && !missing.empty()) {
      throw DataError(experiment.run_folder, "ingredients are not done: " + describe(missing),
                      "give the same command again; soup.on_missing: soup_of_survivors makes a soup without them");
    }
    write_missing(experiment.run_folder, missing);
    if (!missing.empty()) {
      context.log.warn("the soup is made without " + describe(missing));
    }
  });
  context.stages = agreed(*context.patient, [&] { return surviving_stages(experiment); });
}

void run_stages(RunContext& context, const RunRequest& request) {
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
  IngredientSums sums(context);
  if (ingredients) {
    const bool accumulates = all && context.experiment.soup.accumulate && is_a_soup_open(context);
    run_ingredients(context, request.shard, [&](const Stage& stage) {
      if (accumulates) {
        sums.add(stage);
      }
    });
  }
  if (request.goal == RunGoal::paragons) {
    run_paragons(context);
  }
  const bool soups = all || request.goal == RunGoal::soups;
  if ((soups || request.goal == RunGoal::evaluation) && !context.experiment.data.shards.empty()) {
    settle_missing(context);
  }
  if (soups) {
    run_soups(context, sums);
  }
  if (all) {
    run_paragons(context);
  }
  if (all || request.goal == RunGoal::evaluation) {
    run_evaluation(context);
    run_report(context);
  }
}

}  // namespace

void run_experiment(const Experiment& experiment, const RunRequest& request, std::unique_ptr<Communicator> world,
                    Log& log) {
  const auto start = std::chrono::steady_clock::now();
  const bool first = world->rank() == 0;
  check_same_program(experiment, *world);
  const Topology topology =
      Topology::make(world->size(), world->rank(), group_sizes(experiment, request, world->size()));
  std::optional<FileLock> lock;
  GpuInventory gpus;
  ComputeDevice chosen;
  const c10::Device device = agreed(*world, [&] {
    // By every rank: their hosts may differ.
    gpus = probe_gpus();
    if (const std::optional<Error> problem = nccl_problem(gpus)) {
      throw *problem;
    }
    chosen = choose_device(experiment.launch.device, gpus, request.local_rank);
    if (first) {
      lock = prepare(experiment, request, world->size(), gpus, chosen, log);
      log.info("networks compute on " + describe(chosen, gpus));
    }
    return use_device(chosen, experiment.launch.deterministic);
  });
  if (!first) {
    log.open_file(log_file(experiment, request));
  }
  const CollectivesChoice collectives = choose_collectives(experiment.launch.collectives, *world, gpus, chosen);
  if (collectives.nccl && experiment.launch.deterministic) {
    make_nccl_repeatable();
  }
  if (first && world->size() > 1) {
    log.info(
        fmt::format("gradients and soups are summed over {} ({})", collectives.nccl ? "NCCL" : "MPI", collectives.why));
  }
  RunContext context =
      make_context(experiment, topology, std::move(world), request.local_ranks, device, collectives.nccl, log);
  at::set_num_threads(context.threads());
  if (first && !experiment.data.shards.empty()) {
    log.info(topology.describe());
  }
  run_stages(context, request);
  if (first) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    log.event("run_done", {{"seconds", seconds}});
    log.info("finished in " + human_seconds(seconds));
  }
}

}  // namespace soup
