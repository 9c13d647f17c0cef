// What an evaluation of a whole run consists of: which models, and what is worked out when all are scored.
#pragma once

#include <filesystem>
#include <vector>

#include "core/random.hpp"
#include "experiments/evaluation.hpp"
#include "experiments/experiment.hpp"

namespace soup {

// All models of a run, each with raw and with EMA weights: base, ingredients, soup, leave-one-out soups, paragons,
// ensemble (where the configuration asks for it and there are two ingredients). `base` is the base's model folder; all
// others lie where surviving_stages() puts them below the run folder.
std::vector<EvaluatedModel> evaluated_models(const Experiment& experiment, const std::filesystem::path& base);

// Once every record is there: writes comparison.json (the soup against every other model) and drift.json (ingredients,
// soup and paragons against the base) into the evaluation's folder. Does nothing for a run without soup.
void summarise_evaluation(const Experiment& experiment, const std::filesystem::path& base,
                          const std::filesystem::path& folder, SeedTree seeds);

}  // namespace soup
