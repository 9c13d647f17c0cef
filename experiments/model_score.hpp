// One number an item for any model, on held-out data: what `soup search` compares soups by.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/shard_file.hpp"
#include "data/split.hpp"
#include "experiments/experiment.hpp"
#include "trainer/model.hpp"

namespace soup {

// Held-out items in two halves, each spread over all shards, and with and without style words: one to search by, one to
// confirm by.
enum class Half { all, first, second };

struct ScoreRequest {
  std::string measure = "denoising_loss";  // or "alignment"
  WeightSet weights = WeightSet::raw;
  Half half = Half::all;
  at::Device device = at::kCPU;  // where the model computes
};

// The items of `half`, of what prompts.hpp chooses: shards in turn, and every second round with style words.
std::vector<std::size_t> items_of_half(std::size_t items, std::size_t shards, Half half);

// denoising_loss: of config.denoising_images held-out images (lower is better); alignment: of a generated image with
// its prompt, by the image-text scorer, for config.prompts prompts. Items and noise are those of an Evaluation; equal
// requests have equal items in equal order, whatever the model. Throws ConfigError: no such measure, no scorer;
// DataError: too few held-out items, what load_model throws.
std::vector<double> score_model(const EvaluationConfig& config, std::span<const ShardFile> shards,
                                const HeldOut& held_out, SeedTree seeds, const std::filesystem::path& model,
                                const ScoreRequest& request);

}  // namespace soup
