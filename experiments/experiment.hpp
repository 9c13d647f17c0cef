// An experiment as a value: what its YAML file says, validated and complete. Defaults stand here and nowhere else.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/digest.hpp"
#include "data/duplicates.hpp"
#include "data/import.hpp"
#include "data/split.hpp"
#include "experiments/cluster.hpp"
#include "experiments/scorer_config.hpp"
#include "merge/fixed_point.hpp"
#include "trainer/model_config.hpp"
#include "trainer/sampling_plan.hpp"
#include "trainer/train_config.hpp"

namespace soup {

// A shard file made before, by `soup import` or by anyone who writes the format.
struct FileSource {
  std::filesystem::path path;
};

struct ShardSpec {
  std::string name;          // [a-z0-9][a-z0-9_-]*, a folder name
  std::int64_t weight = 1;   // integer weight in the soup
  std::uint64_t images = 0;  // that its ingredient sees; 0: ingredients.images
  int ranks = 0;             // of the group that trains it; 0: launch.ranks_per_group
  std::string theme;         // icon theme: its folder's name ("oxygen"); the source's root is always filled in
  std::variant<IconThemeSource, IdxSource, FileSource, FolderSource, TarsSource> source;
};

enum class OnDuplicate { report, refuse, drop };

struct DataConfig {
  int resolution = 32;    // pixels
  double held_out = 0.1;  // fraction of the caption keys
  // Which keys: not the run's seed, so that base, scorer and runs of several seeds hold out the same names.
  std::uint64_t held_out_seed = 1;
  OnDuplicate exact_duplicates = OnDuplicate::drop;
  OnDuplicate near_duplicates = OnDuplicate::report;
  DuplicateOptions duplicates;
  double max_broken_fraction = 0.05;
  double seconds_per_image = 10.0;
  bool latents = false;  // encode shards with base.model's autoencoder and text encoder when they are imported
  std::vector<ShardSpec> shards;
};

struct BaseConfig {
  BaseConfig() { train.train_text_encoder = true; }  // from scratch there is nothing to freeze

  std::optional<std::filesystem::path> model;  // a model folder; absent: train it from `shards` by `train`
  std::vector<ShardSpec> shards;
  TrainConfig train;
  std::int64_t vocab_size = 1600;  // of the BPE tokenizer learned from the captions
  ModelConfig architecture;
};

struct ParagonConfig {
  bool equal_total = true;              // as many images as all ingredients together
  bool one_shard = true;                // as many as one ingredient
  std::optional<double> learning_rate;  // absent: the ingredients'
};

// When ingredients failed or are not there yet: no soup, wait until some other job has trained them, or a soup of the
// others.
enum class OnMissing { fail, wait, soup_of_survivors };

struct SoupConfig {
  int scale_bits = default_scale_bits;
  bool leave_one_out = true;  // also make and evaluate the soups without each shard
  OnMissing on_missing = OnMissing::fail;
  // Sum ingredients in memory as they finish (8 bytes a weight, over a group's ranks), so that the soups need no more
  // reading; else every soup reads them again, in pieces.
  bool accumulate = true;
};

struct LaunchConfig {
  int ranks_per_group = 1;
  int threads_per_rank = 0;              // 0: cores / ranks on this host
  std::int64_t deadline_seconds = 1800;  // longest wait in one collective; 0 = none
  std::string device = "auto";           // of device_names: where networks compute
  std::string collectives = "auto";      // of collectives_names: over what weights and gradients are exchanged
  bool deterministic = true;             // on a GPU: the same bits from the same training, at some cost of speed
  std::string umask;                     // octal, of all files and folders of the run; empty: the process's own
};

struct EvaluationConfig {
  std::int64_t prompts = 64;                         // held-out prompts, spread evenly over the shards
  SampleOptions sampling{.sampler = {.steps = 20}};  // clip_skip is the ingredients', for all models
  std::int64_t grid_prompts = 8;                     // columns of the report's picture
  std::int64_t denoising_images = 256;               // held-out real images for the denoising loss
  std::int64_t bootstrap = 1000;                     // resamples for standard errors
  std::filesystem::path scorer;                      // folder of the image-text scorer; empty: no alignment scores
  bool ensemble = true;                              // also the output ensemble of the ingredients
};

struct Experiment {
  std::string name;
  std::uint64_t seed = 0;
  DataConfig data;
  BaseConfig base;
  TrainConfig ingredients;  // training of one ingredient; the paragon uses it too
  ParagonConfig paragon;
  SoupConfig soup;
  LaunchConfig launch;
  ClusterConfig cluster;
  EvaluationConfig evaluation;
  // Present: `soup train --scorer` trains an image-text scorer on every shard of this experiment, base's included.
  std::optional<ScorerConfig> scorer;

  std::filesystem::path run_folder;  // runs/<name> unless the YAML or --run-dir says otherwise
};

// The version of the YAML format; every file starts with "schema: 1".
inline constexpr int experiment_schema = 1;

// Reads and validates. overrides: "a.b=c" texts of --set, applied after the file. Relative paths are taken relative to
// the folder soup is run from when they exist there, else to the YAML file's folder when they exist there; run_folder
// always to the folder soup is run from. Throws ConfigError (file:line, key path, nearest valid key).
Experiment load_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides);
// The whole experiment, defaults included, as canonical YAML (fixed key order, loadable again to the same value).
std::string to_yaml(const Experiment& experiment);
// Digest of the canonical text without name, run_folder and launch: of what decides the run's results.
Digest digest_of(const Experiment& experiment);

// The split every trainer, evaluation and scorer of this experiment uses.
HeldOut held_out_of(const Experiment& experiment);

// What a data shard asks for, or the experiment's general value.
std::uint64_t images_of(const ShardSpec& shard, const Experiment& experiment);
int ranks_of(const ShardSpec& shard, const Experiment& experiment);
// ranks_of every data shard, in order; launch.ranks_per_group where there is none.
std::vector<int> group_sizes_wanted(const Experiment& experiment);

// Side of a latent's pixel in image pixels, and channels of the latents of RGB images, of an autoencoder by its name.
struct LatentShape {
  std::int64_t factor = 1;
  std::int64_t channels = 3;
};
// nullopt for a name that is not known.
std::optional<LatentShape> latent_shape(const std::string& autoencoder);

}  // namespace soup
