#include "experiments/preflight.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>
#include <variant>

#include "core/atomic_file.hpp"
#include "core/text.hpp"
#include "data/shard_file.hpp"
#include "experiments/model_size.hpp"
#include "experiments/yaml_parser.hpp"
#include "merge/model_folder.hpp"
#include "trainer/config_reader.hpp"
#include "trainer/noise_schedule.hpp"
#include "trainer/sampling_plan.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

class Problems {
 public:
  // Keeps what `check` throws.
  template <typename Check>
  void collect(const Check& check) {
    try {
      check();
    } catch (const Error& error) {
      found_.push_back(error);
    }
  }
  [[nodiscard]] std::vector<Error> take() { return std::move(found_); }

 private:
  std::vector<Error> found_;
};

void require_file(const fs::path& file, const std::string& hint) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) {
    throw DataError(file, "no such file", hint);
  }
}

// Side of a latent's pixel in image pixels; 1 where the base cannot be read, which check_base reports.
std::int64_t factor_of(const BaseConfig& base) {
  try {
    return base.model ? model_size(*base.model).factor
                      : latent_shape(base.architecture.autoencoder).value_or(LatentShape()).factor;
  } catch (const Error&) {
    return 1;
  }
}

void check_multiples(const std::string& shard, std::int64_t factor, const std::vector<ImageSize>& sizes) {
  for (const ImageSize& size : sizes) {
    if (size.height % factor != 0 || size.width % factor != 0) {
      throw ConfigError(fmt::format("the shard \"{}\" has images of {} x {} pixels, but the base's autoencoder needs "
                                    "multiples of {}",
                                    shard, size.height, size.width, factor),
                        "import it with another bucket_step or resolution");
    }
  }
}

// Squares are data.resolution's, other images are of about as many pixels: buckets have more than half of them.
std::vector<ImageSize> checked_sizes(const ShardFile& shard, int resolution) {
  const std::int64_t most = std::int64_t{resolution} * resolution;
  std::vector<ImageSize> sizes;
  for (const Bucket& bucket : shard.buckets()) {
    const std::int64_t pixels = std::int64_t{bucket.height} * bucket.width;
    const bool all_square = shard.one_size() && bucket.height == bucket.width;
    if (shard.channels() != 3 || pixels > most || 2 * pixels <= most || (all_square && pixels != most)) {
      throw DataError(shard.path(),
                      fmt::format("images of {} x {} x {}; data.resolution {} wants {} x {} x 3, or oblongs of at most "
                                  "and nearly as many pixels",
                                  bucket.height, bucket.width, shard.channels(), resolution, resolution, resolution),
                      "import it again at that resolution, or change data.resolution");
    }
    sizes.push_back({bucket.height, bucket.width});
  }
  return sizes;
}

// factor: the sides of all images are multiples of it.
void check_source(const ShardSpec& shard, const DataConfig& data, std::int64_t factor) {
  const std::string whose = fmt::format("it is the source of the shard \"{}\"", shard.name);
  if (const auto* theme = std::get_if<IconThemeSource>(&shard.source)) {
    std::error_code error;
    if (!fs::is_regular_file(theme->root / "index.theme", error)) {
      throw DataError(theme->root,
                      fmt::format("the icon theme {} of the Debian package {} is not here (shard \"{}\")", shard.theme,
                                  theme->package, shard.name),
                      fmt::format("run `bash launch/setup.sh`, or install the package {}", theme->package));
    }
  } else if (const auto* idx = std::get_if<IdxSource>(&shard.source)) {
    require_file(idx->images, whose);
    require_file(idx->labels, whose);
  } else if (const auto* folder = std::get_if<FolderSource>(&shard.source)) {
    std::error_code error;
    if (!fs::is_directory(folder->folder.path, error)) {
      throw DataError(folder->folder.path, "no such folder", whose);
    }
    check_multiples(shard.name, factor, sizes_of(folder->options, data.resolution));
  } else if (const auto* tars = std::get_if<TarsSource>(&shard.source)) {
    expand_tar_patterns(tars->tars);
    check_multiples(shard.name, factor, sizes_of(tars->options, data.resolution));
  } else {
    const fs::path& file = std::get<FileSource>(shard.source).path;
    require_file(file, whose);
    check_multiples(shard.name, factor, checked_sizes(ShardFile(file), data.resolution));
  }
}

void check_base(const Experiment& experiment) {
  if (!experiment.base.model) {
    return;
  }
  const fs::path& folder = *experiment.base.model;
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw DataError(folder, "there is no base model folder here (base.model)",
                    "give a diffusers model folder, or train one: soup run configs/base-icons.yaml");
  }
  const ModelSize size = model_size(folder);
  if (size.sample_size * size.factor != experiment.data.resolution) {
    throw DataError(folder,
                    fmt::format("the base makes images of {} px ({} x {} latents, {}), but data.resolution is {}",
                                size.sample_size * size.factor, size.sample_size, size.sample_size, size.autoencoder,
                                experiment.data.resolution),
                    "set data.resolution to the base's, or take a base of this resolution");
  }
}

// What the ingredients and their evaluation ask of the base, known before hours of training.
void check_demands(const Experiment& experiment, const ScheduleConfig& base, const TextEncoderConfig& text) {
  const TrainConfig& train = experiment.ingredients;
  if (train.clip_skip > text.num_hidden_layers) {
    throw ConfigError(fmt::format("ingredients.clip_skip is {}, but the base's text encoder has {} layers",
                                  train.clip_skip, text.num_hidden_layers),
                      "1 is the last layer's state, 2 that of the one before");
  }
  const ScheduleConfig schedule = base.adapted(train.prediction_type, train.zero_terminal_snr);
  if (const std::string problem = schedule.problem(); !problem.empty()) {
    throw ConfigError(fmt::format("ingredients: their noise schedule would be impossible: {}", problem),
                      "set ingredients.prediction_type, or leave zero_terminal_snr out");
  }
  if (experiment.evaluation.prompts > 0) {
    make_sampling_plan(NoiseSchedule(schedule), experiment.evaluation.sampling.sampler);
  }
}

// Patterns over the names of a finished base's tensors, as the training matches them.
void check_frozen(const Experiment& experiment, const fs::path& folder) {
  if (experiment.ingredients.frozen.empty()) {
    return;
  }
  const ModelFolder model = open_model(folder);
  std::vector<std::string> names;
  for (const char* part : {"unet", "text_encoder"}) {
    const ModelPart* found = model.find(part);
    if (found == nullptr || (part == std::string_view("text_encoder") && !experiment.ingredients.train_text_encoder)) {
      continue;
    }
    const Weights weights = open_part(model, *found);
    for (const WeightTensor& tensor : weights.tensors()) {
      constexpr std::string_view prefix = "text_model.";  // which transformers 4 writes, and 5 does not
      names.push_back(fmt::format("{}.{}", part,
                                  tensor.name.starts_with(prefix) ? tensor.name.substr(prefix.size()) : tensor.name));
    }
  }
  for (const std::string& pattern : experiment.ingredients.frozen) {
    if (std::ranges::none_of(names, [&pattern](const std::string& name) { return matches_pattern(name, pattern); })) {
      throw ConfigError(fmt::format("ingredients.frozen: the pattern \"{}\" matches no parameter of {} that would be "
                                    "trained",
                                    pattern, folder.string()),
                        "names begin with unet. or, where it is trained, text_encoder.; * stands for any text");
    }
  }
}

void check_ingredients(const Experiment& experiment) {
  if (experiment.data.shards.empty()) {
    return;
  }
  if (!experiment.base.model) {
    check_demands(experiment, experiment.base.architecture.schedule, experiment.base.architecture.text_encoder);
    return;
  }
  const fs::path& folder = *experiment.base.model;
  const fs::path schedule = folder / "scheduler" / "scheduler_config.json";
  const fs::path text = folder / "text_encoder" / "config.json";
  check_demands(experiment, ScheduleConfig::from_json(read_config_file(schedule), schedule.string()),
                TextEncoderConfig::from_json(read_config_file(text), text.string()));
  check_frozen(experiment, folder);
}

// The nearest ancestor that exists must be a folder one may write into.
void check_writable(const fs::path& run_folder) {
  fs::path existing = fs::absolute(run_folder);
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  if (!fs::is_directory(existing, error)) {
    throw DataError(existing, fmt::format("is no folder, so the run folder {} cannot be made", run_folder.native()),
                    "choose another run_folder");
  }
  if (::access(existing.c_str(), W_OK | X_OK) != 0) {
    throw DataError(existing,
                    fmt::format("cannot be written to ({}), and the run folder {} lies there",
                                std::generic_category().message(errno), run_folder.native()),
                    "choose another run_folder, as in --set run_folder=/path/with/space");
  }
}

void check_owner(const Experiment& experiment) {
  const fs::path file = experiment.run_folder / "experiment.yaml";
  std::error_code error;
  if (!fs::exists(file, error)) {
    return;
  }
  const YamlNode root = read_yaml(file);
  const YamlNode* name = root.find("name");
  if (name == nullptr || name->text != experiment.name) {
    throw ConfigError(file.native(), "name",
                      fmt::format("this run folder belongs to the experiment \"{}\", not to \"{}\"",
                                  name == nullptr ? "" : name->text, experiment.name),
                      "give this experiment its own run_folder, or its old name");
  }
}

// A scorer that was trained on a name would judge pictures of it by what it remembers.
void check_scorer(const Experiment& experiment) {
  const fs::path& scorer = experiment.evaluation.scorer;
  if (scorer.empty() || experiment.data.shards.empty()) {
    return;
  }
  std::error_code error;
  if (!fs::is_directory(scorer, error)) {
    throw DataError(scorer, "there is no scorer folder here (evaluation.scorer)",
                    "leave evaluation.scorer out to do without alignment scores");
  }
  const fs::path recipe = scorer / "recipe.json";
  const nlohmann::json parsed = nlohmann::json::parse(read_file(recipe), nullptr, /*allow_exceptions=*/false);
  const auto value_at = [&parsed](const char* path) {
    const nlohmann::json::json_pointer pointer(path);
    return parsed.contains(pointer) ? parsed.at(pointer) : nlohmann::json();
  };
  if (value_at("/configuration/held_out").is_null()) {
    throw DataError(recipe, "does not say which names the scorer was not trained on (configuration.held_out)",
                    "it is written by soup train --scorer");
  }
  const HeldOut ours = held_out_of(experiment);
  const nlohmann::json fraction = value_at("/configuration/held_out/fraction");
  const nlohmann::json seed = value_at("/configuration/held_out/seed");
  if (!fraction.is_number() || !seed.is_number_unsigned() || fraction.get<double>() < ours.fraction ||
      seed.get<std::uint64_t>() != ours.seed) {
    throw ConfigError(
        fmt::format("the scorer {} was trained on names that this experiment holds out: it left out data.held_out {} "
                    "of seed {}, the experiment {} of seed {}",
                    scorer.native(), fraction.dump(), seed.dump(), ours.fraction, ours.seed),
        "use the same data.held_out_seed and no larger data.held_out, or train a scorer on this split");
  }
}

}  // namespace

std::vector<Error> preflight(const Experiment& experiment) {
  Problems problems;
  problems.collect([&] { check_owner(experiment); });
  problems.collect([&] { check_writable(experiment.run_folder); });
  const std::int64_t factor = factor_of(experiment.base);
  for (const ShardSpec& shard : experiment.base.shards) {
    problems.collect([&] { check_source(shard, experiment.data, factor); });
  }
  for (const ShardSpec& shard : experiment.data.shards) {
    problems.collect([&] { check_source(shard, experiment.data, factor); });
  }
  problems.collect([&] {
    check_base(experiment);
    check_ingredients(experiment);
  });
  problems.collect([&] { check_scorer(experiment); });
  return problems.take();
}

void require_ready(const Experiment& experiment) {
  const std::vector<Error> problems = preflight(experiment);
  if (problems.empty()) {
    return;
  }
  const Error& first = problems.front();
  std::string hint = first.hint();
  for (std::size_t i = 1; i < problems.size(); ++i) {
    hint += fmt::format("\n  and: {}", problems[i].message());
  }
  throw Error(first.exit_code(), first.message(), hint);
}

}  // namespace soup
