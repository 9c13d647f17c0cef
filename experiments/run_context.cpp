// What every stage of a run needs, and the one way a stage is run or skipped.
#include "experiments/run_context.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "core/text.hpp"
#include "experiments/stage_failure.hpp"
#include "experiments/stage_lock.hpp"
#include "launch/nccl_communicator.hpp"
#include "merge/ledger.hpp"

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

std::unique_ptr<Communicator> RunContext::for_weights(std::unique_ptr<Communicator> ranks,
                                                      const std::string& name) const {
  if (nccl && ranks->size() > 1) {
    ranks = make_nccl_communicator(std::move(ranks), {.gpu = device.index(), .watchdog = watchdog});
  }
  return watched(std::move(ranks), watchdog, name);
}

RunContext make_context(const Experiment& experiment, const Topology& topology, std::unique_ptr<Communicator> world,
                        int local_ranks, c10::Device device, bool nccl, Log& log) {
  auto watchdog = std::make_shared<Watchdog>(std::chrono::seconds(experiment.launch.deadline_seconds), nullptr);
  std::unique_ptr<Communicator> group = world->split(topology.group, topology.rank_in_group);
  std::unique_ptr<Communicator> across = world->split(topology.rank_in_group, topology.group);
  std::unique_ptr<Communicator> patient = world->split(0, topology.rank);
  RunContext context{.experiment = experiment,
                     .stages = stages_of(experiment),
                     .topology = topology,
                     .local_ranks = local_ranks,
                     .device = device,
                     .nccl = nccl,
                     .watchdog = watchdog,
                     .patient = std::move(patient),
                     .world = watched(std::move(world), watchdog, "world"),
                     .group = nullptr,
                     .across = nullptr,
                     .alone = make_self_communicator(),
                     .log = log};
  context.group = context.for_weights(std::move(group), "group");
  context.across = context.for_weights(std::move(across), "across");
  return context;
}

namespace {

// What one rank found out about a stage that is to be run; the lock is its own.
struct Opening {
  bool done = false;
  Digest key;
  std::optional<FileLock> lock = {};
};

Opening open_stage(const RunContext& context, const Stage& stage) {
  const std::filesystem::path& run = context.experiment.run_folder;
  const std::optional<Digest> key = stage_key(stage, context.stages, run);
  if (!key) {
    std::vector<std::string> open;
    for (const std::string& input : stage.inputs) {
      const Stage& before = context.stage(input.substr(0, input.find('#')));
      if (!is_done(before, context.stages, run)) {
        open.push_back(before.name);
      }
    }
    throw DataError(context.folder_of(stage),
                    fmt::format("{} needs what is not done: {}", stage.name, fmt::join(open, ", ")),
                    "`soup run` does all that is needed; `soup plan` shows what is not done");
  }
  if (is_done(stage, context.stages, run)) {
    return {.done = true, .key = *key};
  }
  FileLock lock = take_lock(run, stage.name, context.log);
  // Another process may have finished it just before.
  return {.done = is_done(stage, context.stages, run), .key = *key, .lock = std::move(lock)};
}

void note_failure(const RunContext& context, const Stage& stage, const std::exception& error, ExitCode code) {
  context.log.event("stage_failed",
                    {{"stage", stage.name}, {"error", error.what()}, {"exit_code", static_cast<int>(code)}});
  try {
    write_failure(
        context.folder_of(stage),
        {.time = utc_now(), .process = this_process(), .exit_code = static_cast<int>(code), .error = error.what()});
  } catch (const Error& unwritten) {
    // On a full disk there is no room for this either; what happened matters more.
    context.log.warn(unwritten.what());
  }
}

}  // namespace

void run_stage(const RunContext& context, const Stage& stage, Communicator& comm,
               const std::function<StageResult(const Digest& key)>& body) {
  const std::filesystem::path folder = context.folder_of(stage);
  const bool speaks = comm.rank() == 0;
  // One rank looks, all follow: file systems of clusters may show different ranks different states.
  Opening opening = agreed(comm, [&] { return speaks ? open_stage(context, stage) : Opening(); });
  const std::string state = broadcast_text(comm, (opening.done ? "done " : "open ") + opening.key.hex(), 0);
  if (state.starts_with("done")) {
    if (speaks) {
      context.log.event("stage_skipped", {{"stage", stage.name}});
    }
    return;
  }
  const Digest key = Digest::from_hex(state.substr(5));
  if (speaks) {
    nlohmann::json started = to_json(this_process());
    started.update({{"stage", stage.name}, {"key", key.hex()}, {"ranks", comm.size()}, {"images", stage.images}});
    context.log.event("stage_started", started);
  }
  const auto start = std::chrono::steady_clock::now();
  try {
    const StageResult result = agreed(comm, [&] {
      if (speaks) {
        remove_done(folder);
        remove_failure(folder);
        remove_partials(folder);
      }
      return body(key);
    });
    agreed(comm, [&] {
      if (speaks) {
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        write_done(folder, {.key = key,
                            .result = result.digest,
                            .seconds = seconds,
                            .ranks = comm.size(),
                            .images = stage.images,
                            .parts = result.parts});
        context.log.event("stage_done", {{"stage", stage.name}, {"seconds", seconds}, {"result", result.digest.hex()}});
        context.log.info(fmt::format("{}: done in {}", stage.name, human_seconds(seconds)));
      }
    });
  } catch (const Interrupted&) {
    if (speaks) {
      context.log.event("stage_stopped", {{"stage", stage.name}});
    }
    throw;
  } catch (const Error& error) {
    if (speaks) {
      note_failure(context, stage, error, error.exit_code());
    }
    throw;
  } catch (const std::exception& error) {
    if (speaks) {
      note_failure(context, stage, error, ExitCode::invariant);
    }
    throw;
  }
}

}  // namespace soup
