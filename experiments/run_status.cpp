// How far a run is, from what its folder holds.
#include "experiments/run_status.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/file_lock.hpp"
#include "core/process_identity.hpp"
#include "core/text.hpp"
#include "experiments/missing.hpp"
#include "experiments/stage.hpp"
#include "experiments/stage_failure.hpp"
#include "experiments/stage_lock.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 6> state_names = {"done", "running", "failed", "stopped", "queued", "waiting"};

// What the logs last said of a stage.
struct LastWords {
  nlohmann::json started;
  nlohmann::json progress;  // since then
  nlohmann::json ended;     // stage_stopped, since then
};

// The end of a log is enough: what runs has spoken lately, and what has not is told by locks and files.
void read_log(const fs::path& file, std::map<std::string, LastWords>& words) {
  constexpr std::streamoff longest = 4 << 20;
  std::ifstream in(file, std::ios::binary);
  in.seekg(0, std::ios::end);
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - longest));
  std::string line;
  if (size > longest) {
    std::getline(in, line);  // the rest of one
  }
  while (std::getline(in, line)) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    // The last line may be half written.
    if (!event.is_object() || !event.contains("stage") || !event["stage"].is_string() || !event.contains("event") ||
        !event["event"].is_string()) {
      continue;
    }
    LastWords& of_stage = words[event["stage"].get<std::string>()];
    const std::string kind = event["event"].get<std::string>();
    const bool newer = of_stage.started.is_null() || event.value("time", "") >= of_stage.started.value("time", "");
    if (kind == "stage_started" && newer) {
      of_stage = {event, {}, {}};
    } else if (newer && (kind == "progress" || kind == "stopped")) {
      of_stage.progress = event;
    } else if (newer && kind == "stage_stopped") {
      of_stage.ended = event;
    }
  }
}

std::map<std::string, LastWords> read_logs(const fs::path& run_folder) {
  std::map<std::string, LastWords> words;
  read_log(run_folder / "log.jsonl", words);
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_folder / "logs", missing)) {
    if (entry.path().extension() == ".jsonl") {
      read_log(entry.path(), words);
    }
  }
  return words;
}

std::string text_at(const nlohmann::json& event, const char* key) {
  const auto found = event.is_object() ? event.find(key) : event.end();
  return found != event.end() && found->is_string() ? found->get<std::string>() : "";
}

double number_at(const nlohmann::json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_number() ? found->get<double>() : 0.0;
}

void take_progress(const nlohmann::json& progress, StageStatus& status) {
  if (!progress.is_object()) {
    return;
  }
  const double done = number_at(progress, "done");
  const double total = number_at(progress, "total");
  status.done = static_cast<std::uint64_t>(std::max(0.0, done));
  status.total = static_cast<std::uint64_t>(std::max(0.0, total));
  status.unit = text_at(progress, "unit");
  status.rate = number_at(progress, "rate");
  if (status.rate > 0.0 && total > done) {
    status.seconds_left = (total - done) / status.rate;
  }
}

// Which job of a submission does a stage.
std::string job_of(const Stage& stage, const Submission& submission, const Experiment& experiment) {
  const auto named = [&](std::string_view name) {
    const auto found = std::ranges::find(submission.jobs, name, &SubmittedJob::name);
    return found == submission.jobs.end() ? "" : found->id;
  };
  switch (stage.kind) {
    case StageKind::import_shard:
    case StageKind::duplicates:
    case StageKind::base:
      return named("base");
    case StageKind::ingredient:
      for (const SubmittedJob& job : submission.jobs) {
        const auto shard = std::ranges::find(job.shards, shard_of(stage, experiment).name);
        if (shard != job.shards.end()) {
          return fmt::format("{}_{}", job.id, shard - job.shards.begin());
        }
      }
      return "";
    case StageKind::soup:
      return named("soup");
    case StageKind::paragon:
      return named("paragon");
    case StageKind::evaluate:
    case StageKind::report:
      return named("evaluate");
    case StageKind::scorer:
      return "";
  }
  return "";
}

// "17_[2-5,9%3]" holds element 4 of job 17, as "17_4" and "17" hold themselves.
bool holds(const QueuedJob& queued, const std::string& id) {
  if (queued.id == id) {
    return true;
  }
  const std::size_t under = id.find('_');
  if (under == std::string::npos || !queued.id.starts_with(id.substr(0, under) + "_[")) {
    return false;
  }
  const int element = std::stoi(id.substr(under + 1));
  std::string ranges = queued.id.substr(under + 2);
  ranges = ranges.substr(0, ranges.find_first_of("%]"));
  return std::ranges::any_of(split(ranges, ','), [element](const std::string& range) {
    int first = 0;
    int last = 0;
    const int found = std::sscanf(range.c_str(), "%d-%d", &first, &last);
    return (found == 1 && element == first) || (found == 2 && element >= first && element <= last);
  });
}

class Looker {
 public:
  explicit Looker(const Experiment& experiment)
      : experiment_(experiment),
        stages_(surviving_stages(experiment)),
        words_(read_logs(experiment.run_folder)),
        submission_(read_submission(experiment.run_folder)) {}

  RunStatus look() {
    RunStatus status{.experiment = experiment_.name, .stages = {}, .queue_unknown = {}};
    if (submission_.scheduler == "slurm") {
      std::vector<std::string> ids;
      for (const SubmittedJob& job : submission_.jobs) {
        ids.push_back(job.id);
      }
      try {
        queued_ = queued_jobs(ids);
      } catch (const Error& error) {
        status.queue_unknown = error.what();
      }
    }
    // An ingredient that the soup does without is told of too, with what became of it.
    const std::vector<Stage> all = stages_of(experiment_);
    for (const Stage& stage : all) {
      const auto survivor = std::ranges::find(stages_, stage.name, &Stage::name);
      if (survivor != stages_.end()) {
        status.stages.push_back(look_at(*survivor, stages_));
      } else if (stage.kind == StageKind::ingredient) {
        status.stages.push_back(look_at(stage, all));
      }
    }
    return status;
  }

 private:
  StageStatus look_at(const Stage& stage, const std::vector<Stage>& stages) const {
    const fs::path& run = experiment_.run_folder;
    StageStatus status;
    status.stage = stage.name;
    const auto words = words_.find(stage.name);
    if (is_done(stage, stages, run)) {
      const StageRecord record = read_done(run / stage.folder).value();
      status.state = StageState::done;
      status.seconds = record.seconds;
      if (record.images > 0) {
        status.done = record.images;
        status.total = record.images;
        status.unit = "images";
      }
      return status;
    }
    if (const std::optional<std::string> holder = lock_holder(lock_file(run, stage.name))) {
      status.state = StageState::running;
      const nlohmann::json process = nlohmann::json::parse(*holder, nullptr, false);
      status.process = describe_process(process);
      if (words != words_.end()) {
        status.since = text_at(words->second.started, "time");
        take_progress(words->second.progress, status);
      }
      return status;
    }
    if (const std::optional<StageFailure> failure = read_failure(run / stage.folder)) {
      status.state = StageState::failed;
      status.since = failure->time;
      status.process = describe_process(to_json(failure->process));
      status.reason = failure->error;
      return status;
    }
    if (words != words_.end()) {
      take_progress(words->second.progress, status);
      status.rate = 0.0;
      status.seconds_left = 0.0;
    }
    const std::string id = job_of(stage, submission_, experiment_);
    const auto queued =
        std::ranges::find_if(queued_, [&](const QueuedJob& job) { return !id.empty() && holds(job, id); });
    if (queued != queued_.end()) {
      status.state = StageState::queued;
      status.job = id;
      status.reason = queued->state == "PENDING" ? queued->reason : queued->state + " on " + queued->node;
    } else if (words != words_.end() && words->second.started.is_object()) {
      // It began, holds no lock and left no error: asked to stop, or killed.
      status.state = StageState::stopped;
      status.since = text_at(words->second.ended.is_object() ? words->second.ended : words->second.started, "time");
      status.reason = words->second.ended.is_object() ? "by a signal, after a checkpoint"
                                                      : "without a word: killed, or its machine went down";
    } else {
      std::vector<std::string> open;
      for (const std::string& input : stage.inputs) {
        const std::string name = input.substr(0, input.find('#'));
        const auto before = std::ranges::find(stages, name, &Stage::name);
        if (before != stages.end() && !is_done(*before, stages, run) && std::ranges::find(open, name) == open.end()) {
          open.push_back(name);
        }
      }
      status.reason = open.empty() ? "" : fmt::format("for {}", fmt::join(open, ", "));
    }
    return status;
  }

  const Experiment& experiment_;
  std::vector<Stage> stages_;
  std::map<std::string, LastWords> words_;
  Submission submission_;
  std::vector<QueuedJob> queued_;
};

std::string detail_of(const StageStatus& stage) {
  std::vector<std::string> parts;
  if (stage.done && stage.state != StageState::done) {
    parts.push_back(fmt::format("{} of {} {}", *stage.done, stage.total, stage.unit));
  } else if (stage.done) {
    parts.push_back(fmt::format("{} {}", *stage.done, stage.unit));
  }
  if (stage.rate > 0.0) {
    parts.push_back(fmt::format("{:.3g} {}/s", stage.rate, stage.unit));
  }
  if (stage.seconds_left > 0.0) {
    parts.push_back(human_seconds(stage.seconds_left) + " left");
  }
  if (stage.state == StageState::done) {
    parts.push_back("in " + human_seconds(stage.seconds));
  }
  if (!stage.process.empty()) {
    parts.push_back(stage.process);
  }
  if (!stage.job.empty()) {
    parts.push_back("job " + stage.job);
  }
  if (!stage.since.empty()) {
    parts.push_back("since " + stage.since);
  }
  if (!stage.reason.empty()) {
    parts.push_back(stage.reason);
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

RunStatus status_of(const Experiment& experiment) {
  return Looker(experiment).look();
}

std::string describe(const RunStatus& status) {
  std::size_t width = 5;
  std::size_t done = 0;
  for (const StageStatus& stage : status.stages) {
    width = std::max(width, stage.stage.size());
    done += stage.state == StageState::done ? 1 : 0;
  }
  std::string text =
      fmt::format("experiment {}: {} of {} stages done\n", status.experiment, done, status.stages.size());
  for (const StageStatus& stage : status.stages) {
    text += fmt::format("{:<{}}  {:<7}  {}", stage.stage, width, state_names.at(static_cast<std::size_t>(stage.state)),
                        detail_of(stage));
    while (text.back() == ' ') {
      text.pop_back();
    }
    text += "\n";
  }
  if (!status.queue_unknown.empty()) {
    text += "the queue is not known: " + status.queue_unknown + "\n";
  }
  return text;
}

nlohmann::ordered_json to_json(const RunStatus& status) {
  nlohmann::ordered_json json = {{"experiment", status.experiment}, {"stages", nlohmann::json::array()}};
  for (const StageStatus& stage : status.stages) {
    nlohmann::ordered_json item = {{"stage", stage.stage},
                                   {"state", state_names.at(static_cast<std::size_t>(stage.state))}};
    const auto add = [&item](const char* key, const auto& value, bool present) {
      if (present) {
        item[key] = value;
      }
    };
    add("since", stage.since, !stage.since.empty());
    add("process", stage.process, !stage.process.empty());
    add("done", stage.done.value_or(0), stage.done.has_value());
    add("total", stage.total, stage.done.has_value());
    add("unit", stage.unit, stage.done.has_value());
    add("rate", stage.rate, stage.rate > 0.0);
    add("seconds_left", stage.seconds_left, stage.seconds_left > 0.0);
    add("seconds", stage.seconds, stage.state == StageState::done);
    add("job", stage.job, !stage.job.empty());
    add("reason", stage.reason, !stage.reason.empty());
    json["stages"].push_back(std::move(item));
  }
  if (!status.queue_unknown.empty()) {
    json["queue_unknown"] = status.queue_unknown;
  }
  return json;
}

}  // namespace soup
