// The stages that make soups of the run's ingredients: of all of them, and of all but one. No torch.
#pragma once

#include "experiments/ingredient_sums.hpp"
#include "experiments/run_context.hpp"

namespace soup {

// Every group brings the ingredients that it has in `sums`, and its part of those that no group has; an all-reduce of
// integers across the groups makes each soup. Collective over all ranks.
void run_soups(const RunContext& context, const IngredientSums& sums);
// Whether any soup is still to be made. Decided by the first rank. Collective over all ranks.
bool is_a_soup_open(const RunContext& context);

}  // namespace soup
