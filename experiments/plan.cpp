#include "experiments/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/text.hpp"
#include "data/shard_file.hpp"
#include "experiments/model_size.hpp"
#include "experiments/preflight.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// Before a theme is imported, how many icons it has is not known; Debian's have between 150 and 7,300.
constexpr std::uint64_t assumed_icons = 1500;
constexpr std::uint64_t bytes_per_caption = 256;  // captions, keys, digests of one image
// A forward pass is a third of a training step's work (forward, and twice that backward).
constexpr double forward_share = 1.0 / 3.0;
// What LibTorch, MPI and the program itself keep resident.
constexpr std::uint64_t program_bytes = 300ULL << 20;
// What CUDA and its libraries take of a GPU.
constexpr std::uint64_t gpu_program_bytes = 1ULL << 30;
// Numbers that autograd keeps per image, latent pixel and channel of the first level: a rough estimate.
constexpr std::uint64_t activations_per_channel = 150;
// Inner images that an encoder's block holds at a time: its input, two convolutions' inputs and outputs.
constexpr std::uint64_t encoder_images = 5;
constexpr std::uint64_t encoded_number_bytes = 2;  // half precision

class Planner {
 public:
  Planner(const Experiment& experiment, Plan& plan) : experiment_(experiment), plan_(plan) {
    try {
      size_ = experiment.base.model ? model_size(*experiment.base.model) : model_size(experiment.base.architecture);
    } catch (const Error&) {
      // preflight reports what is wrong with the base; its costs stay unknown.
    }
  }

  void fill() {
    const std::vector<Stage> stages = stages_of(experiment_);
    for (const Stage& stage : stages) {
      StagePlan item;
      item.stage = stage;
      item.images = stage.images;
      item.done = is_done(stage, stages, experiment_.run_folder);
      if (stage.kind == StageKind::import_shard) {
        item.images = shard_images(item);
      }
      if (item.done) {
        const StageRecord record = read_done(experiment_.run_folder / stage.folder).value();
        item.seconds = record.seconds;
        item.ranks = record.ranks;
        item.basis = Basis::measured;
        learn(stage, record);
      }
      plan_.stages.push_back(std::move(item));
    }
    for (StagePlan& item : plan_.stages) {
      item.bytes = bytes_of(item);
      if (!item.done) {
        item.ranks = ranks_for(item.stage);
        predict(item);
      }
    }
    add_up();
    const std::uint64_t training = training_memory();
    // What a checkpoint is written from while training goes on: copies of weights, two moments, average.
    const std::uint64_t checkpoint = (size_.unet + size_.text_encoder) * 4 * sizeof(float);
    if (plan_.device.is_gpu()) {
      plan_.gpu_memory_bytes = gpu_program_bytes + training;
      // And the model as it is read.
      plan_.memory_bytes = program_bytes + size_.all() * sizeof(float) + checkpoint;
    } else {
      plan_.memory_bytes = program_bytes + training + checkpoint;
    }
  }

 private:
  // An image's training costs this many (weights x latent pixels).
  [[nodiscard]] double work_per_image() const {
    return static_cast<double>(size_.unet) * static_cast<double>(size_.sample_size * size_.sample_size);
  }
  // Whether this import also runs the base's encoders.
  [[nodiscard]] bool encodes(const Stage& stage) const {
    return experiment_.data.latents && stage.kind == StageKind::import_shard && !stage.is_base_shard;
  }
  // Texts that are encoded for one image, where all captions differ: with and without style word.
  static constexpr std::uint64_t texts_per_image = 2;
  // Multiplications of the encoders for one image and its texts.
  [[nodiscard]] double products_to_encode() const {
    const double per_text = static_cast<double>(size_.text_encoder) * static_cast<double>(size_.tokens);
    return (size_.encoder ? size_.encoder->products : 0.0) + texts_per_image * per_text;
  }
  // What they make of them.
  [[nodiscard]] std::uint64_t encoded_bytes() const {
    const auto latent_pixels = static_cast<std::uint64_t>(size_.sample_size * size_.sample_size);
    const std::uint64_t moments =
        size_.encoder ? static_cast<std::uint64_t>(size_.encoder->moments) * latent_pixels : 0;
    const auto states = texts_per_image * static_cast<std::uint64_t>(size_.tokens * size_.text_width);
    return (moments + states) * encoded_number_bytes;
  }
  // Cores that a rank has, or GPUs.
  [[nodiscard]] double units_per_rank() const {
    const int all =
        plan_.device.is_gpu() ? std::min(plan_.ranks, static_cast<int>(plan_.gpus.gpus.size())) : plan_.cores;
    return static_cast<double>(all) / plan_.ranks;
  }
  // That work on a stage together.
  [[nodiscard]] int ranks_for(const Stage& stage) const {
    switch (stage.kind) {
      case StageKind::ingredient:
        return std::min(plan_.ranks, ranks_of(shard_of(stage, experiment_), experiment_));
      case StageKind::import_shard:
        return 1;
      default:
        return plan_.ranks;
    }
  }

  // The rate of this run's own trainings, where there are any, for all others.
  void learn(const Stage& stage, const StageRecord& record) {
    const bool trained = stage.images > 0 && record.seconds > 0.0;
    if (trained) {
      measured_rate_ =
          static_cast<double>(stage.images) / record.seconds * work_per_image() / (units_per_rank() * record.ranks);
    }
  }

  [[nodiscard]] std::uint64_t shard_images(const StagePlan& item) const {
    const fs::path file = experiment_.run_folder / item.stage.folder / "shard.h5";
    std::error_code error;
    if (item.done && fs::exists(file, error)) {
      return ShardFile(file).size();
    }
    const ShardSpec& shard = shard_of(item.stage, experiment_);
    std::uint64_t limit = 0;
    if (const auto* theme = std::get_if<IconThemeSource>(&shard.source)) {
      limit = theme->limit;
    } else if (const auto* idx = std::get_if<IdxSource>(&shard.source)) {
      limit = idx->limit;
    } else if (const auto* folder = std::get_if<FolderSource>(&shard.source)) {
      limit = folder->options.limit;
    } else if (const auto* tars = std::get_if<TarsSource>(&shard.source)) {
      limit = tars->options.limit;
    }
    return limit > 0 ? limit : assumed_icons;
  }

  [[nodiscard]] std::uint64_t image_bytes() const {
    const auto side = static_cast<std::uint64_t>(experiment_.data.resolution);
    return side * side * 3 + bytes_per_caption;
  }

  [[nodiscard]] std::uint64_t bytes_of(const StagePlan& item) const {
    constexpr std::uint64_t kFloat = sizeof(float);
    switch (item.stage.kind) {
      case StageKind::import_shard:
        // With latents, images and what is made of them lie beside the file that they are put into.
        return item.images * (encodes(item.stage) ? 2 * (image_bytes() + encoded_bytes()) : image_bytes());
      case StageKind::base:
        if (experiment_.base.model) {
          return size_.all() * kFloat;
        }
        [[fallthrough]];
      case StageKind::ingredient:
      case StageKind::paragon: {
        const TrainConfig train = train_config_of(item.stage, experiment_);
        const std::uint64_t trained = size_.unet + (train.train_text_encoder ? size_.text_encoder : 0);
        // The model with its averaged weights, and two checkpoints of weights, average and two moments.
        return (size_.all() + trained + 2 * 4 * trained) * kFloat;
      }
      case StageKind::soup:
        // Weights and averaged weights, and the integer sums of both.
        return (size_.all() + size_.unet) * kFloat + 2 * size_.unet * sizeof(std::int64_t);
      case StageKind::evaluate:
        return static_cast<std::uint64_t>(experiment_.evaluation.prompts) * models() * image_bytes();
      case StageKind::duplicates:
      case StageKind::scorer:
      case StageKind::report:
        return 0;
    }
    return 0;
  }

  [[nodiscard]] std::uint64_t models() const {
    std::uint64_t count = 0;
    for (const StagePlan& item : plan_.stages) {
      const StageKind kind = item.stage.kind;
      count += kind == StageKind::base || kind == StageKind::ingredient || kind == StageKind::soup ||
                       kind == StageKind::paragon
                   ? 1
                   : 0;
    }
    return count;
  }

  [[nodiscard]] double assumed_rate() const {
    return plan_.device.is_gpu() ? assumed_gpu_training_rate : assumed_training_rate;
  }

  [[nodiscard]] double encoding_rate() const {
    return plan_.device.is_gpu() ? assumed_gpu_encoding_rate : assumed_encoding_rate;
  }

  void predict(StagePlan& item) const {
    const double units = units_per_rank() * ranks_for(item.stage);
    const double rate = measured_rate_ > 0.0 ? measured_rate_ : assumed_rate();
    item.basis = measured_rate_ > 0.0 ? Basis::this_run : Basis::assumed;
    if (size_.unet == 0 && (item.stage.images > 0 || item.stage.kind == StageKind::evaluate)) {
      item.basis = Basis::unknown;
    } else if (item.stage.images > 0) {
      item.seconds = static_cast<double>(item.stage.images) * work_per_image() / (rate * units);
    } else if (item.stage.kind == StageKind::evaluate) {
      const EvaluationConfig& evaluation = experiment_.evaluation;
      // Guidance is two passes a step; every model is evaluated with raw and averaged weights.
      const double passes =
          static_cast<double>(evaluation.prompts * evaluation.sampling.sampler.steps * 2 + evaluation.denoising_images);
      item.seconds = 2.0 * static_cast<double>(models()) * passes * forward_share * work_per_image() / (rate * units);
    } else if (item.stage.kind == StageKind::import_shard) {
      item.basis = Basis::assumed;
      item.seconds = static_cast<double>(item.images) / assumed_import_rate;
      if (encodes(item.stage)) {
        item.basis = size_.unet == 0 ? Basis::unknown : Basis::assumed;
        item.seconds += static_cast<double>(item.images) * products_to_encode() / (encoding_rate() * units);
      }
    } else {
      item.basis = Basis::assumed;
      item.seconds = 1.0;
    }
  }

  // Groups train ingredients and import side by side: each kind takes as long as the group that is through last.
  void add_up() {
    const std::vector<int> group_sizes = plan_.topology ? plan_.topology->group_sizes : std::vector<int>{plan_.ranks};
    std::vector<double> importing(group_sizes.size());
    for (const StagePlan& item : plan_.stages) {
      if (item.done) {
        continue;
      }
      plan_.bytes_to_do += item.bytes;
      if (item.stage.kind == StageKind::import_shard) {
        importing[item.stage.shard % importing.size()] += item.seconds;
      } else if (item.stage.kind == StageKind::ingredient) {
        const ShardSpec& shard = shard_of(item.stage, experiment_);
        plan_.work.push_back({shard.name, item.seconds * item.ranks, ranks_of(shard, experiment_)});
      } else {
        plan_.seconds_to_do += item.seconds;
      }
    }
    plan_.schedule = make_schedule(group_sizes, plan_.work);
    plan_.seconds_to_do += std::ranges::max(importing) + plan_.schedule.makespan;
  }

  // Of one rank, where its networks compute.
  [[nodiscard]] std::uint64_t training_memory() const {
    std::uint64_t batch = 0;
    const auto per_group =
        static_cast<std::uint64_t>(plan_.topology ? std::ranges::min(plan_.topology->group_sizes) : 1);
    if (!experiment_.data.shards.empty()) {
      batch = static_cast<std::uint64_t>(experiment_.ingredients.batch) / per_group;
    }
    if (!experiment_.base.model) {
      batch = std::max(batch, static_cast<std::uint64_t>(experiment_.base.train.batch) / per_group);
    }
    const auto pixels = static_cast<std::uint64_t>(size_.sample_size * size_.sample_size);
    const auto channels = static_cast<std::uint64_t>(size_.first_channels);
    const std::uint64_t weights = size_.all() * sizeof(float);
    // Gradients, two moments, average; and what autograd keeps.
    const std::uint64_t training = (size_.unet + size_.text_encoder) * 4 * sizeof(float) +
                                   batch * pixels * channels * activations_per_channel * sizeof(float);
    const std::uint64_t encoding = size_.encoder ? size_.encoder->numbers * encoder_images * sizeof(float) : 0;
    return weights + std::max(training, encoding);
  }

  const Experiment& experiment_;
  Plan& plan_;
  ModelSize size_;
  double measured_rate_ = 0.0;  // weights x latent pixels x images, per second and core, or GPU
};

std::string state_of(const StagePlan& item) {
  return item.done ? "done" : "to do";
}

std::string_view name_of(Basis basis) {
  switch (basis) {
    case Basis::measured:
      return "measured";
    case Basis::this_run:
      return "this run's rate";
    case Basis::assumed:
      return "assumed rate";
    case Basis::unknown:
      return "unknown";
  }
  return {};
}

}  // namespace

Plan make_plan(const Experiment& experiment, int ranks, const GpuInventory& gpus) {
  Plan plan;
  plan.digest = digest_of(experiment);
  plan.ranks = ranks;
  plan.cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  plan.gpus = gpus;
  try {
    plan.topology = Topology::make(ranks, 0, group_sizes_wanted(experiment));
  } catch (const ConfigError& error) {
    plan.problems.push_back(error);
  }
  for (Error& problem : preflight(experiment)) {
    plan.problems.push_back(std::move(problem));
  }
  try {
    plan.device = choose_device(experiment.launch.device, gpus);
  } catch (const ConfigError& error) {
    plan.problems.push_back(error);
  }
  if (const std::optional<Error> problem = nccl_problem(gpus)) {
    plan.problems.push_back(*problem);
  }
  try {
    Planner(experiment, plan).fill();
  } catch (const Error& error) {
    plan.problems.push_back(error);  // a DONE file or shard of this run that cannot be read
  }
  std::error_code error;
  fs::path existing = fs::absolute(experiment.run_folder);
  while (!fs::exists(existing, error) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  const fs::space_info space = fs::space(existing, error);
  if (!error && space.available < plan.bytes_to_do) {
    plan.problems.push_back(DataError(
        experiment.run_folder,
        fmt::format("{} are needed on this disk, {} are free", human_bytes(static_cast<double>(plan.bytes_to_do)),
                    human_bytes(static_cast<double>(space.available))),
        "free some, or choose another run_folder"));
  }
  return plan;
}

std::string describe(const Plan& plan, const Experiment& experiment) {
  const auto done = std::ranges::count_if(plan.stages, [](const StagePlan& item) { return item.done; });
  std::string text = fmt::format("experiment {}, digest {}\nrun folder {}: {} of {} stages done\n", experiment.name,
                                 plan.digest.brief(), experiment.run_folder.native(), done, plan.stages.size());
  text += describe(plan.gpus) + "networks compute on " + describe(plan.device, plan.gpus) + "\n\n";
  if (plan.topology) {
    text += plan.topology->describe() + "\n";
    if (!plan.work.empty()) {
      text += "ingredients to train: a free group takes the next, longest first\n" +
              describe(plan.schedule, *plan.topology, plan.work);
    }
    text += "\n";
  }
  std::size_t width = 5;
  for (const StagePlan& item : plan.stages) {
    width = std::max(width, item.stage.name.size());
  }
  text += fmt::format("{:<{}}  {:<5}  {:>10}  {:>12}  {:<15}  {:>8}\n", "stage", width, "state", "images", "time", "by",
                      "disk");
  for (const StagePlan& item : plan.stages) {
    // How many icons a theme gives is known once it is imported.
    const bool known = item.images > 0 && (item.stage.kind != StageKind::import_shard || item.done);
    text += fmt::format("{:<{}}  {:<5}  {:>10}  {:>12}  {:<15}  {:>8}\n", item.stage.name, width, state_of(item),
                        known ? std::to_string(item.images) : "",
                        item.basis == Basis::unknown ? "" : human_seconds(item.seconds), name_of(item.basis),
                        item.bytes > 0 ? human_bytes(static_cast<double>(item.bytes)) : "");
  }
  const bool all_known = std::ranges::find(plan.stages, Basis::unknown, &StagePlan::basis) == plan.stages.end();
  text += fmt::format(
      "\nto do: {} {} on {} {} of {} cores, {} on disk, {} of memory per rank{}\n"
      "assumed: {:g} weights x latent pixels x images per second and {} in training, {:g} icons per second{}\n",
      all_known ? "about" : "more than", human_seconds(plan.seconds_to_do), plan.ranks,
      plan.ranks == 1 ? "rank" : "ranks", plan.cores, human_bytes(static_cast<double>(plan.bytes_to_do)),
      human_bytes(static_cast<double>(plan.memory_bytes)),
      plan.device.is_gpu() ? ", " + human_bytes(static_cast<double>(plan.gpu_memory_bytes)) + " of its GPU's" : "",
      plan.device.is_gpu() ? assumed_gpu_training_rate : assumed_training_rate, plan.device.is_gpu() ? "GPU" : "core",
      assumed_import_rate,
      experiment.data.latents ? fmt::format(", {:g} multiplications per second and {} in encoding",
                                            plan.device.is_gpu() ? assumed_gpu_encoding_rate : assumed_encoding_rate,
                                            plan.device.is_gpu() ? "GPU" : "core")
                              : "");
  if (!plan.problems.empty()) {
    text += fmt::format("\n{} {} to solve before this can run:\n", plan.problems.size(),
                        plan.problems.size() == 1 ? "problem" : "problems");
    for (const Error& problem : plan.problems) {
      text += fmt::format("- {}\n", problem.what());
    }
  }
  return text;
}

}  // namespace soup
