// The stages before training: import of every shard, and the search for duplicates between them. No torch.
#pragma once

#include "experiments/run_context.hpp"

namespace soup {

// Imports every shard of the run, each by the first rank of the group that will train it (base shards in turn over the
// ranks). Collective.
void run_imports(const RunContext& context);
// Finds duplicates between data shards (and lists images that are also in the base's) and reports, refuses or drops
// them as the YAML says. Collective.
void run_duplicates(const RunContext& context);

}  // namespace soup
