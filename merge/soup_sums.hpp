// A soup's integer sums, read back from its accumulator and held against its weights.
#pragma once

#include "core/digest.hpp"
#include "merge/sums_reader.hpp"

namespace soup {

// The accumulator's weights_digest. Reads a part's weights and sums once, in bounded memory. Throws DataError naming
// the first tensor whose sums do not give its weights to the bit, and for tensors without sums; Interrupted on a
// signal.
Digest check_sums(const SumStart& soup, int threads);

}  // namespace soup
