// Which keys an experiment's YAML has, in canonical order, with their ranges.
#pragma once

#include "experiments/experiment.hpp"
#include "experiments/keys.hpp"

namespace soup {

void describe(Keys& keys, Experiment& experiment);
// The parts that stages put into their own settings.
void describe(Keys& keys, TrainConfig& train);
void describe(Keys& keys, EvaluationConfig& evaluation);
void describe(Keys& keys, ScorerConfig& scorer);
void describe(Keys& keys, ShardSpec& shard);
// autoencoder, unet, text_encoder, schedule.
void describe(Keys& keys, ModelConfig& architecture);

// The words of exact_duplicates and near_duplicates.
std::string_view name_of(OnDuplicate on_duplicate);

// Where a theme of a Debian package lies: .deps/icons/<package>/usr/share/icons/<theme> below the current folder or the
// source tree (launch/setup.sh unpacks it there), else /usr/share/icons/<theme>; the first of them when none exists.
std::filesystem::path default_theme_root(const std::string& package, const std::string& theme);

}  // namespace soup
