// What every stage of a run needs, and the one way a stage is run or skipped.
#include "experiments/run_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

int RunContext::threads() const {
  if (experiment.launch.threads_per_rank > 0) {
    return experiment.launch.threads_per_rank;
  }
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return std::max(1, cores / std::max(1, local_ranks));
}

std::vector<const Stage*> RunContext::of_kind(StageKind kind) const {
  std::vector<const Stage*> found;
  for (const Stage& stage : stages) {
    if (stage.kind == kind) {
      found.push_back(&stage);
    }
  }
  return found;
}

const Stage& RunContext::stage(const std::string& name) const {
  const auto found =
      std::find_if(stages.begin(), stages.end(), [&name](const Stage& stage) { return stage.name == name; });
  SOUP_REQUIRE(found != stages.end(), "no stage is called " + name);
  return *found;
}

RunContext make_context(const Experiment& experiment, std::unique_ptr<Communicator> world, int local_ranks,
                        c10::Device device, Log& log) {
  const Topology topology = Topology::make(world->size(), world->rank(), experiment.launch.ranks_per_group);
  auto watchdog = std::make_shared<Watchdog>(std::chrono::seconds(experiment.launch.deadline_seconds), nullptr);
  std::unique_ptr<Communicator> group = world->split(topology.group, topology.rank_in_group);
  std::unique_ptr<Communicator> patient = world->split(0, topology.rank);
  return {.experiment = experiment,
          .stages = stages_of(experiment),
          .topology = topology,
          .local_ranks = local_ranks,
          .device = device,
          .watchdog = watchdog,
          .patient = std::move(patient),
          .world = watched(std::move(world), watchdog, "world"),
          .group = watched(std::move(group), watchdog, "group"),
          .alone = make_self_communicator(),
          .log = log};
}

void run_stage(const RunContext& context, const Stage& stage, Communicator& comm,
               const std::function<StageResult(const Digest& key)>& body) {
  const std::filesystem::path folder = context.folder_of(stage);
  // One rank looks, all follow: file systems of clusters may show different ranks different states.
  const std::string state = broadcast_text(
      comm,
      agreed(comm,
             [&]() -> std::string {
               if (comm.rank() != 0) {
                 return {};
               }
               const std::optional<Digest> key = stage_key(stage, context.stages, context.experiment.run_folder);
               SOUP_REQUIRE(key.has_value(), "stage " + stage.name + " was started before its inputs were done");
               return (is_done(stage, context.stages, context.experiment.run_folder) ? "done " : "open ") + key->hex();
             }),
      0);
  const bool speaks = comm.rank() == 0;
  if (state.starts_with("done")) {
    if (speaks) {
      context.log.event("stage_skipped", {{"stage", stage.name}});
    }
    return;
  }
  const Digest key = Digest::from_hex(state.substr(5));
  if (speaks) {
    context.log.event("stage_started", {{"stage", stage.name}, {"key", key.hex()}});
  }
  const auto start = std::chrono::steady_clock::now();
  const StageResult result = agreed(comm, [&] {
    if (speaks) {
      std::filesystem::remove(folder / "DONE");
      remove_partials(folder);
    }
    return body(key);
  });
  agreed(comm, [&] {
    if (speaks) {
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      write_done(
          folder,
          {.key = key, .result = result.digest, .seconds = seconds, .images = stage.images, .parts = result.parts});
      context.log.event("stage_done", {{"stage", stage.name}, {"seconds", seconds}, {"result", result.digest.hex()}});
      context.log.info(fmt::format("{}: done in {}", stage.name, human_seconds(seconds)));
    }
  });
}

}  // namespace soup
