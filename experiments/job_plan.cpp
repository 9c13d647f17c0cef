// An experiment as jobs of a cluster.
#include "experiments/job_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/text.hpp"
#include "experiments/stage.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

class Planner {
 public:
  Planner(const Experiment& experiment, JobPlan& plan)
      : experiment_(experiment),
        plan_(plan),
        stages_(stages_of(experiment)),
        file_((plan.jobs_folder / "experiment.yaml").string()) {}

  void fill() {
    using enum StageKind;
    if (is_open({import_shard, duplicates, base})) {
      add({.name = "base",
           .arguments = {"train", "--base", file_},
           .ranks = static_cast<int>(experiment_.cluster.base_ranks)});
    }
    const std::vector<std::string> arrays = add_ingredients();
    const bool needs_all = experiment_.soup.on_missing == OnMissing::fail;
    if (is_open({paragon})) {
      add({.name = "paragon",
           .arguments = {"train", "--paragon", file_},
           .ranks = static_cast<int>(experiment_.cluster.paragon_ranks),
           .after = {"base"}});
    }
    if (is_open({soup}) || !arrays.empty()) {
      add({.name = "soup",
           .arguments = {"train", "--soup", file_},
           .ranks = static_cast<int>(experiment_.cluster.soup_ranks),
           .after = arrays.empty() ? std::vector<std::string>{"base"} : arrays,
           .after_success = needs_all});
    }
    if (is_open({evaluate, report})) {
      add({.name = "evaluate", .arguments = {"evaluate", file_}, .after = {"base", "paragon", "soup"}});
    }
  }

 private:
  [[nodiscard]] bool is_open(const std::vector<StageKind>& kinds) const {
    return std::ranges::any_of(stages_, [&](const Stage& stage) {
      return std::ranges::find(kinds, stage.kind) != kinds.end() && !is_done(stage, stages_, experiment_.run_folder);
    });
  }

  // Waits for what is planned, of what it would have to wait for.
  void add(Job job) {
    std::erase_if(job.after, [this](const std::string& name) {
      return std::ranges::find(plan_.jobs, name, &Job::name) == plan_.jobs.end();
    });
    plan_.jobs.push_back(std::move(job));
  }

  // An array for each size of group, largest first; returns their names.
  std::vector<std::string> add_ingredients() {
    std::map<int, std::vector<std::string>, std::greater<>> shards;
    for (const Stage& stage : stages_) {
      if (stage.kind == StageKind::ingredient && !is_done(stage, stages_, experiment_.run_folder)) {
        const ShardSpec& shard = shard_of(stage, experiment_);
        shards[ranks_of(shard, experiment_)].push_back(shard.name);
      }
    }
    std::vector<std::string> names;
    for (const auto& [ranks, of_size] : shards) {
      names.push_back(shards.size() == 1 ? "ingredients" : "ingredients-" + std::to_string(ranks));
      add({.name = names.back(), .arguments = {"train", file_}, .shards = of_size, .ranks = ranks, .after = {"base"}});
    }
    return names;
  }

  const Experiment& experiment_;
  JobPlan& plan_;
  std::vector<Stage> stages_;
  std::string file_;
};

}  // namespace

JobPlan plan_jobs(const Experiment& experiment, const fs::path& work_folder, const fs::path& program) {
  JobPlan plan;
  plan.name = experiment.name;
  plan.work_folder = work_folder;
  plan.jobs_folder = (work_folder / experiment.run_folder / "jobs").lexically_normal();
  plan.program = experiment.cluster.program.empty() ? program : fs::path(experiment.cluster.program);
  plan.cluster = experiment.cluster;
  Planner(experiment, plan).fill();
  return plan;
}

std::vector<JobFile> job_files(const JobPlan& plan) {
  if (plan.cluster.scheduler == "pbs") {
    return pbs_files(plan);
  }
  return plan.cluster.scheduler == "kubernetes" ? kubernetes_files(plan) : slurm_files(plan);
}

std::string script_name(const JobPlan& plan, const Job& job) {
  return job.name + (plan.cluster.scheduler == "pbs" ? ".pbs" : ".sbatch");
}

std::string shell_quoted(std::string_view text) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string inner(text);
  replace_all(inner, "'", "'\\''");
  return fmt::format("'{}'", inner);
}

std::string shell_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) {
      text += ' ';
    }
    text += shell_quoted(word);
  }
  return text;
}

}  // namespace soup
