// The stages after the soups: evaluation of every model, divided over the ranks, and the report.
#pragma once

#include "experiments/run_context.hpp"

namespace soup {

// Trains the image-text scorer on every shard; throws ConfigError when the experiment has no scorer section.
// Collective.
void run_scorer(const RunContext& context);
// Scores every model of the run on the same prompts, noise and real images. Collective.
void run_evaluation(const RunContext& context);
// Writes report/index.html. Collective.
void run_report(const RunContext& context);

}  // namespace soup
