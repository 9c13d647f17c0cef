#include "experiments/experiment.hpp"

#include <fmt/format.h>

#include "core/error.hpp"
#include "experiments/experiment_checks.hpp"
#include "experiments/experiment_keys.hpp"
#include "experiments/yaml_parser.hpp"
#include "experiments/yaml_path.hpp"
#include "experiments/yaml_reader.hpp"
#include "experiments/yaml_writer.hpp"

namespace soup {

namespace {

// Before anything else, so that a file of another version is not reported as full of unknown keys.
void check_schema(const YamlNode& root) {
  const YamlNode* schema = root.find("schema");
  const std::string hint = fmt::format("this soup reads schema {}; write \"schema: {}\" as the first line",
                                       experiment_schema, experiment_schema);
  if (schema == nullptr) {
    throw ConfigError(root.where(), "schema", "this key is required", hint);
  }
  if (schema->kind != YamlNode::Kind::scalar || schema->quoted || schema->text != std::to_string(experiment_schema)) {
    throw ConfigError(schema->where(), "schema",
                      fmt::format("expected {}, got {}", experiment_schema, schema->described()), hint);
  }
}

// Keys that follow from others when they are left out.
void derive(Experiment& experiment, const YamlNode& root) {
  if (experiment.run_folder.empty()) {
    experiment.run_folder = std::filesystem::path("runs") / experiment.name;
  }
  // Models are evaluated with the text states that they were trained with.
  experiment.evaluation.sampling.clip_skip = experiment.ingredients.clip_skip;
  if (experiment.base.model) {
    return;
  }
  ModelConfig& architecture = experiment.base.architecture;
  architecture.text_encoder.vocab_size = experiment.base.vocab_size;
  const auto derived = [&root](const char* key, std::int64_t& value, std::int64_t from) {
    if (find_at(root, std::string("base.architecture.unet.") + key) == nullptr) {
      value = from;
    }
  };
  const LatentShape latent = latent_shape(architecture.autoencoder).value_or(LatentShape());
  derived("sample_size", architecture.unet.sample_size, experiment.data.resolution / latent.factor);
  derived("in_channels", architecture.unet.in_channels, latent.channels);
  derived("out_channels", architecture.unet.out_channels, latent.channels);
  derived("cross_attention_dim", architecture.unet.cross_attention_dim, architecture.text_encoder.hidden_size);
}

}  // namespace

Experiment load_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  YamlNode root = read_yaml(file);
  for (const std::string& assignment : overrides) {
    apply_override(root, assignment);
  }
  check_schema(root);

  const auto resolve = [&file](const std::filesystem::path& written) {
    std::error_code error;
    const std::filesystem::path beside = file.parent_path() / written;
    const bool use_beside =
        written.is_relative() && !std::filesystem::exists(written, error) && std::filesystem::exists(beside, error);
    return (use_beside ? beside : written).lexically_normal();
  };
  Experiment experiment;
  read_keys(
      root, [&experiment](Keys& keys) { describe(keys, experiment); }, resolve);
  derive(experiment, root);
  check_experiment(experiment, root);
  return experiment;
}

std::string to_yaml(const Experiment& experiment) {
  Experiment copy = experiment;
  return write_keys([&copy](Keys& keys) { describe(keys, copy); }, {});
}

Digest digest_of(const Experiment& experiment) {
  Experiment copy = experiment;
  return sha256(write_keys([&copy](Keys& keys) { describe(keys, copy); },
                           {"name", "run_folder", "launch", "cluster", "data.shards.ranks", "base.shards.ranks",
                            "soup.on_missing", "soup.accumulate"}));
}

std::uint64_t images_of(const ShardSpec& shard, const Experiment& experiment) {
  return shard.images > 0 ? shard.images : experiment.ingredients.images;
}

int ranks_of(const ShardSpec& shard, const Experiment& experiment) {
  return shard.ranks > 0 ? shard.ranks : experiment.launch.ranks_per_group;
}

std::vector<int> group_sizes_wanted(const Experiment& experiment) {
  std::vector<int> sizes;
  for (const ShardSpec& shard : experiment.data.shards) {
    sizes.push_back(ranks_of(shard, experiment));
  }
  if (sizes.empty()) {
    sizes.push_back(experiment.launch.ranks_per_group);
  }
  return sizes;
}

HeldOut held_out_of(const Experiment& experiment) {
  return {.fraction = experiment.data.held_out, .seed = experiment.data.held_out_seed};
}

std::optional<LatentShape> latent_shape(const std::string& autoencoder) {
  if (autoencoder == "identity") {
    return LatentShape{1, 3};
  }
  if (autoencoder == "space_to_depth_2") {
    return LatentShape{2, 12};
  }
  return std::nullopt;
}

}  // namespace soup
