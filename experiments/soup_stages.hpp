// The stages that make soups of the run's ingredients: of all of them, and of all but one. No torch.
#pragma once

#include "experiments/run_context.hpp"

namespace soup {

// Every group brings the ingredients it trained; an all-reduce of integers over all ranks makes each soup. Collective.
void run_soups(const RunContext& context);

}  // namespace soup
