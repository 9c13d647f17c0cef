// An experiment as jobs: which, in which order, and the files for each scheduler; submission to schedulers that
// misbehave.
#include <gmock/gmock.h>
#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "experiments/job_plan.hpp"
#include "experiments/run_status.hpp"
#include "experiments/stage_failure.hpp"
#include "experiments/submission.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

namespace fs = std::filesystem;

class SubmitTest : public testing::Test {
 protected:
  Experiment load(std::vector<std::string> overrides = {}) {
    overrides.push_back("run_folder=" + (folder_.path() / "a run").string());
    return test::load(folder_.path(), test::small_yaml, overrides);
  }
  JobPlan plan(const Experiment& experiment) { return plan_jobs(experiment, folder_.path(), "/opt/soup/bin/soup"); }
  static const Job& job(const JobPlan& plan, const std::string& name) {
    return *std::ranges::find(plan.jobs, name, &Job::name);
  }
  static std::vector<std::string> names(const JobPlan& plan) {
    std::vector<std::string> names;
    for (const Job& job : plan.jobs) {
      names.push_back(job.name);
    }
    return names;
  }
  static std::string text_of(const JobPlan& plan, const std::string& name) {
    for (const JobFile& file : job_files(plan)) {
      if (file.name == name) {
        return file.text;
      }
    }
    return "no file " + name;
  }
  // A program of a scheduler, first on the PATH from here on.
  void pretend(const std::string& name, const std::string& script) {
    const fs::path bin = folder_.path() / "bin";
    fs::create_directories(bin);
    write_file_atomically(bin / name, "#!/bin/bash\n" + script + "\n");
    fs::permissions(bin / name, fs::perms::owner_all);
    setenv("PATH", (bin.string() + ":" + path_).c_str(), 1);
  }
  void TearDown() override { setenv("PATH", path_.c_str(), 1); }
  std::string said() { return read_file(folder_.path() / "said"); }

  test::TemporaryFolder folder_;
  std::string path_ = std::getenv("PATH");
};

TEST_F(SubmitTest, JobsFollowEachOther) {
  const JobPlan all = plan(load());
  EXPECT_THAT(names(all), ElementsAre("base", "ingredients", "paragon", "soup", "evaluate"));
  EXPECT_THAT(job(all, "ingredients").shards, ElementsAre("one", "two"));
  EXPECT_THAT(job(all, "ingredients").after, ElementsAre("base"));
  EXPECT_THAT(job(all, "soup").after, ElementsAre("ingredients"));
  EXPECT_TRUE(job(all, "soup").after_success);
  EXPECT_THAT(job(all, "evaluate").after, ElementsAre("base", "paragon", "soup"));
  EXPECT_FALSE(job(plan(load({"soup.on_missing=soup_of_survivors"})), "soup").after_success);
}

TEST_F(SubmitTest, GroupsOfOneSizeAreAnArray) {
  const JobPlan mixed = plan(load({"data.shards[1].ranks=4", "cluster.paragon_ranks=2"}));
  EXPECT_THAT(names(mixed), ElementsAre("base", "ingredients-4", "ingredients-1", "paragon", "soup", "evaluate"));
  EXPECT_THAT(job(mixed, "ingredients-4").shards, ElementsAre("two"));
  EXPECT_EQ(job(mixed, "ingredients-4").ranks, 4);
  EXPECT_EQ(job(mixed, "paragon").ranks, 2);
  EXPECT_THAT(job(mixed, "soup").after, ElementsAre("ingredients-4", "ingredients-1"));
}

TEST_F(SubmitTest, SlurmScriptsSayWhatTheYamlSays) {
  const Experiment experiment =
      load({"launch.ranks_per_group=8", "cluster.partition=gpu", "cluster.account=a-1", "cluster.qos=long",
            "cluster.time=\"2-12:00:00\"", "cluster.memory=64G", "cluster.gpus_per_rank=1", "cluster.cores_per_rank=6",
            "cluster.ranks_per_node=4", "cluster.most_running=3", "cluster.signal_seconds=300",
            "cluster.modules=[cuda/13.0]", "cluster.prolog=['ulimit -n 4096']", "cluster.options=[--exclusive]"});
  const std::string script = text_of(plan(experiment), "ingredients.sbatch");
  for (const char* line : {"#SBATCH --partition=gpu\n",
                           "#SBATCH --account=a-1\n",
                           "#SBATCH --qos=long\n",
                           "#SBATCH --time=2-12:00:00\n",
                           "#SBATCH --mem=64G\n",
                           "#SBATCH --gpus-per-task=1\n",
                           "#SBATCH --cpus-per-task=6\n",
                           "#SBATCH --ntasks=8\n",
                           "#SBATCH --nodes=2\n",
                           "#SBATCH --ntasks-per-node=4\n",
                           "#SBATCH --array=0-1%3\n",
                           "#SBATCH --signal=B:USR1@300\n",
                           "#SBATCH --requeue\n",
                           "#SBATCH --open-mode=append\n",
                           "#SBATCH --kill-on-invalid-dep=yes\n",
                           "#SBATCH --exclusive\n",
                           "module load cuda/13.0\n",
                           "ulimit -n 4096\n",
                           "shards=(one two)\n",
                           "srun --mpi=pmix",
                           "mpirun --bind-to none -n 8"}) {
    EXPECT_THAT(script, HasSubstr(line));
  }
  // A folder with a space, in the scheduler's words and in the shell's.
  EXPECT_THAT(script, HasSubstr("#SBATCH --output=\"" + (folder_.path() / "a run/jobs/ingredients.%A_%a.out").string() +
                                "\"\n"));
  EXPECT_THAT(script, HasSubstr("command=(/opt/soup/bin/soup train '" +
                                (folder_.path() / "a run/jobs/experiment.yaml").string() +
                                "' --shard \"${shards[SLURM_ARRAY_TASK_ID]}\")"));
  EXPECT_THAT(text_of(plan(load({"cluster.launcher=mpirun", "launch.ranks_per_group=2"})), "ingredients.sbatch"),
              Not(HasSubstr("srun")));
}

TEST_F(SubmitTest, EveryScriptIsOne) {
  for (const char* scheduler : {"slurm", "pbs", "kubernetes"}) {
    const Experiment experiment = load({std::string("cluster.scheduler=") + scheduler, "launch.ranks_per_group=2",
                                        "cluster.image=soup:1", "cluster.volume=work", "cluster.modules=[\"it's\"]"});
    for (const fs::path& file : write_job_files(plan(experiment), experiment)) {
      if (file.extension() != ".yaml") {
        const auto [code, text] = test::run_command("bash -n '" + file.string() + "'");
        EXPECT_EQ(code, 0) << file << "\n" << text << read_file(file);
      }
    }
  }
}

// The words of qsub's manual (PBS Professional 2022.1, "pbs_job_attributes").
TEST_F(SubmitTest, PbsScriptsAskForChunksAndTime) {
  const Experiment experiment =
      load({"cluster.scheduler=pbs", "launch.ranks_per_group=8", "cluster.partition=gpuq", "cluster.account=a-1",
            "cluster.time=\"1-02:30:00\"", "cluster.memory=64G", "cluster.gpus_per_rank=1", "cluster.cores_per_rank=6",
            "cluster.ranks_per_node=4"});
  const std::string script = text_of(plan(experiment), "ingredients.pbs");
  for (const char* line : {"#PBS -q gpuq\n", "#PBS -A a-1\n", "#PBS -l select=2:ncpus=24:mpiprocs=4:ngpus=4:mem=64gb\n",
                           "#PBS -l walltime=26:30:00\n", "#PBS -J 0-1\n", "#PBS -r y\n", "mpirun --bind-to none -n 8",
                           "${shards[PBS_ARRAY_INDEX]}"}) {
    EXPECT_THAT(script, HasSubstr(line));
  }
  for (const auto& [time, walltime] : {std::pair{"90", "01:30:00"}, std::pair{"30:15", "00:30:15"},
                                       std::pair{"2-0", "48:00:00"}, std::pair{"100:00:00", "100:00:00"}}) {
    EXPECT_THAT(
        text_of(plan(load({"cluster.scheduler=pbs", std::string("cluster.time=\"") + time + "\""})), "base.pbs"),
        HasSubstr(std::string("walltime=") + walltime + "\n"));
  }
  // An array of PBS has two elements at least.
  EXPECT_THAT(text_of(plan(load({"cluster.scheduler=pbs", "data.shards[1].ranks=2"})), "ingredients-2.pbs"),
              testing::AllOf(Not(HasSubstr("#PBS -J")), HasSubstr("${shards[0]}")));
}

// What the published schema of MPIJob requires (kubeflow/mpi-operator, manifests/base/kubeflow.org_mpijobs.yaml,
// v2beta1): spec.mpiReplicaSpecs with a Launcher of one replica, and templates of pods, whose containers have names and
// images.
TEST_F(SubmitTest, KubernetesManifestsHaveTheFieldsOfTheirSchema) {
  const Experiment experiment =
      load({"cluster.scheduler=kubernetes", "launch.ranks_per_group=8", "cluster.image=registry/soup:1",
            "cluster.volume=work", "cluster.gpus_per_rank=1", "cluster.ranks_per_node=4", "cluster.memory=64G",
            "cluster.prolog=['echo \"a: b\"']"});
  const std::vector<JobFile> files = kubernetes_files(plan(experiment));
  int manifests = 0;
  for (const JobFile& file : files) {
    if (!file.name.ends_with(".yaml")) {
      continue;
    }
    ++manifests;
    const YAML::Node job = YAML::Load(file.text);
    EXPECT_EQ(job["apiVersion"].as<std::string>(), "kubeflow.org/v2beta1");
    EXPECT_EQ(job["kind"].as<std::string>(), "MPIJob");
    EXPECT_THAT(job["metadata"]["name"].as<std::string>(), testing::MatchesRegex("[a-z0-9]([-a-z0-9]*[a-z0-9])?"));
    EXPECT_EQ(job["spec"]["mpiReplicaSpecs"]["Launcher"]["replicas"].as<int>(), 1);
    for (const char* role : {"Launcher", "Worker"}) {
      const YAML::Node pod = job["spec"]["mpiReplicaSpecs"][role]["template"]["spec"];
      ASSERT_EQ(pod["containers"].size(), 1U) << file.name;
      EXPECT_EQ(pod["containers"][0]["image"].as<std::string>(), "registry/soup:1");
      EXPECT_FALSE(pod["containers"][0]["name"].as<std::string>().empty());
      EXPECT_EQ(pod["volumes"][0]["persistentVolumeClaim"]["claimName"].as<std::string>(), "work");
    }
  }
  EXPECT_EQ(manifests, 6);  // base, two shards, paragon, soup, evaluate
  const YAML::Node shard = YAML::Load(text_of(plan(experiment), "ingredient-two.yaml"));
  const YAML::Node worker = shard["spec"]["mpiReplicaSpecs"]["Worker"];
  EXPECT_EQ(worker["replicas"].as<int>(), 2);
  EXPECT_EQ(worker["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"].as<int>(), 4);
  EXPECT_EQ(worker["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"].as<std::string>(), "64Gi");
  const auto command =
      shard["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["args"][0].as<std::string>();
  EXPECT_THAT(command, testing::AllOf(HasSubstr("echo \"a: b\"\n"), HasSubstr("-n 8 /opt/soup/bin/soup train"),
                                      HasSubstr("--shard two")));
  const std::string apply = text_of(plan(experiment), "apply.sh");
  EXPECT_LT(apply.find("kubectl apply -f base.yaml"), apply.find("mpijob/small-base"));
  EXPECT_LT(apply.find("mpijob/small-base"), apply.find("kubectl apply -f ingredient-one.yaml"));
  EXPECT_LT(apply.find("mpijob/small-ingredient-two"), apply.find("kubectl apply -f soup.yaml"));
}

TEST_F(SubmitTest, WhatCannotStandInAScriptIsRefused) {
  const auto refused = [this](const std::string& setting) {
    return test::refusal(folder_.path(), test::small_yaml, {setting});
  };
  EXPECT_THAT(refused("cluster.partition=\"a\\n#SBATCH --uid=0\""), HasSubstr("cluster.partition"));
  EXPECT_THAT(refused("cluster.account='a\"b'"), HasSubstr("cannot stand in a line"));
  EXPECT_THAT(refused("cluster.prolog=[\"a\\nb\"]"), HasSubstr("cluster.prolog[0]"));
  EXPECT_THAT(refused("cluster.time=soon"), HasSubstr("\"soon\" is no time limit"));
  EXPECT_THAT(refused("cluster.memory=64 GB"), HasSubstr("no amount of memory"));
  EXPECT_THAT(refused("cluster.launcher=ssh"), HasSubstr("cluster.launcher"));
  EXPECT_THAT(refused("cluster.partion=x"), HasSubstr("partition"));
  EXPECT_EQ(refused("cluster.prolog=['echo \"$HOME\"']"), "accepted");
}

TEST_F(SubmitTest, ASchedulersIdsBecomeDependenciesAndARecord) {
  const std::string said = (folder_.path() / "said").string();
  pretend("sbatch", "echo \"$*\" >> '" + said + "'; echo $((10 + $(wc -l < '" + said + "')))\";cluster\"");
  const Experiment experiment = load();
  write_job_files(plan(experiment), experiment);
  const Submission submission = submit(plan(experiment));
  ASSERT_EQ(submission.jobs.size(), 5U);
  EXPECT_EQ(submission.jobs[0].id, "11");
  EXPECT_THAT(this->said(), testing::AllOf(HasSubstr("--dependency=afterok:11 "), HasSubstr("afterok:12 "),
                                           HasSubstr("afterok:11:13:14 ")));
  const Submission read = read_submission(experiment.run_folder);
  EXPECT_EQ(read.scheduler, "slurm");
  EXPECT_THAT(read.jobs[1].shards, ElementsAre("one", "two"));
  // Jobs that are still queued are not submitted again.
  pretend("squeue", "[[ $* == *--jobs=12* ]] && echo '12_[0-1]|PENDING|Dependency|'; exit 0");
  try {
    require_none_queued(plan(experiment));
    FAIL() << "jobs are queued";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("12_[0-1] (PENDING)"), HasSubstr("scancel 11 12 13 14 15")));
  }
  const RunStatus status = status_of(experiment);
  const auto one = std::ranges::find(status.stages, "ingredient/one", &StageStatus::stage);
  EXPECT_EQ(one->state, StageState::queued);
  EXPECT_EQ(one->job, "12_0");
  EXPECT_EQ(one->reason, "Dependency");
  pretend("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_NO_THROW(require_none_queued(plan(experiment)));
  pretend("squeue", "echo 'cannot reach the controller' >&2; exit 1");
  EXPECT_THROW(require_none_queued(plan(experiment)), DataError);
  EXPECT_THAT(describe(status_of(experiment)), HasSubstr("the queue is not known: squeue: ended with 1"));
}

TEST_F(SubmitTest, WhenOneJobIsRefusedNoneIsLeft) {
  const std::string said = (folder_.path() / "said").string();
  pretend("sbatch", "if [[ $* == *paragon* ]]; then echo 'invalid partition' >&2; exit 1; fi; echo 7");
  pretend("scancel", "echo \"$*\" >> '" + said + "'");
  const Experiment experiment = load();
  write_job_files(plan(experiment), experiment);
  try {
    submit(plan(experiment));
    FAIL() << "a job was refused";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("refused job paragon"), HasSubstr("invalid partition")));
  }
  EXPECT_EQ(this->said(), "7\n7\n");
  EXPECT_THAT(read_submission(experiment.run_folder).jobs, IsEmpty());
  pretend("scancel", "exit 1");
  EXPECT_THROW(submit(plan(experiment)), DataError);
  EXPECT_EQ(read_submission(experiment.run_folder).jobs.size(), 2U);  // still there
  write_file_atomically(experiment.run_folder / "jobs" / "submitted.json", "{");
  EXPECT_THROW(read_submission(experiment.run_folder), DataError);
}

TEST_F(SubmitTest, StatusTellsWhatFilesAndLogsTell) {
  const Experiment experiment = load();
  const fs::path run = experiment.run_folder;
  const auto state = [&](const std::string& name) {
    const RunStatus status = status_of(experiment);
    return *std::ranges::find(status.stages, name, &StageStatus::stage);
  };
  EXPECT_EQ(state("ingredient/one").state, StageState::waiting);
  EXPECT_THAT(state("ingredient/one").reason, HasSubstr("import/one"));

  fs::create_directories(run / "logs");
  write_file_atomically(run / "logs" / "ingredient.one.jsonl",
                        R"({"time":"2026-01-01T00:00:00.000Z","event":"stage_started","stage":"ingredient/one"}
{"time":"2026-01-01T00:00:02.000Z","event":"progress","stage":"ingredient/one","done":16,"total":32,"unit":"images","rate":8.0}
{"time":"2026-01-01T00:00:04.0)");
  StageStatus one = state("ingredient/one");
  EXPECT_EQ(one.state, StageState::stopped);
  EXPECT_EQ(one.done, 16U);
  EXPECT_EQ(one.rate, 0.0);
  EXPECT_THAT(one.reason, HasSubstr("without a word"));

  StageFailure failure;
  failure.time = "2026-01-01T00:00:00Z";
  failure.process = {"node3", 12, "7_1"};
  failure.exit_code = 3;
  failure.error = "shard two is torn";
  write_failure(run / "ingredients" / "two", failure);
  const StageStatus two = state("ingredient/two");
  EXPECT_EQ(two.state, StageState::failed);
  EXPECT_EQ(two.reason, "shard two is torn");
  EXPECT_EQ(two.process, "process 12 on node3, job 7_1");
  EXPECT_THAT(describe(status_of(experiment)), HasSubstr("ingredient/two       failed   process 12 on node3, job 7_1"));
  EXPECT_THAT(to_json(status_of(experiment)).dump(), HasSubstr("\"state\":\"failed\""));
}

}  // namespace
}  // namespace soup
