// Trains the image-text scorer on real images of all styles and measures it on the held-out ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>

#include "core/digest.hpp"
#include "core/log.hpp"
#include "core/random.hpp"
#include "data/shard_file.hpp"
#include "experiments/scorer.hpp"
#include "experiments/scorer_config.hpp"

namespace soup {

// What the scorer achieves on real image-caption pairs: the ceiling of every score it gives.
struct ScorerAccuracy {
  std::uint64_t pairs = 0;            // images tested
  std::uint64_t styled_captions = 0;  // different captions with style words they choose from
  double styled_top1 = 0.0;           // share of images whose own caption is the nearest
  double styled_top5 = 0.0;
  std::uint64_t plain_captions = 0;  // the same without style words
  double plain_top1 = 0.0;
  double plain_top5 = 0.0;
  double context_accuracy = 0.0;  // of the images whose caption names a context
  double style_accuracy = 0.0;    // of the images with a style
};

[[nodiscard]] nlohmann::json to_json(const ScorerAccuracy& accuracy);

// Scores every held-out image of the shards. Throws DataError when none is held out.
ScorerAccuracy measure_scorer(const Scorer& scorer, std::span<const ShardFile> shards, const HeldOut& held_out);

// Contrastive training (InfoNCE in both directions, Radford et al. 2021, figure 3) plus the two heads' cross-entropies,
// on every image of the shards whose key is not held out. Draws from streams "init", "scorer_image", "scorer_caption"
// and "scorer_shift" of `seeds`, so the result is a function of configuration, shards and seed (on one kind of
// machine). Goes on from the newest checkpoint in `folder` that was written under the same `key`. Then writes `folder`
// atomically: the scorer's files and recipe.json (configuration, seed, data roots, images seen, loss curve, accuracy).
// Throws Interrupted after a checkpoint when a stop signal came; DataError: shards of different sizes or not RGB, fewer
// training images than one batch, NaN.
ScorerAccuracy train_scorer(const ScorerConfig& config, std::span<const ShardFile> shards, SeedTree seeds,
                            const Digest& key, Log& log, const std::filesystem::path& folder);

}  // namespace soup
