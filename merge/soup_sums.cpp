// A soup's integer sums, read back from its accumulator and held against its weights.
#include "merge/soup_sums.hpp"

#include <fmt/format.h>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/float_formats.hpp"
#include "merge/sums_reader.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

Digest check_sums(const SumStart& soup, int threads) {
  const std::span<const WeightTensor> tensors = soup.soup->tensors();
  for (const WeightTensor& tensor : tensors) {
    const std::optional<std::size_t> sums = soup.accumulator->find(tensor.name);
    if (is_floating(tensor.dtype) && (!sums || soup.accumulator->tensors()[*sums].shape != tensor.shape)) {
      throw DataError(soup.accumulator->path(), fmt::format("it has no sums for tensor {} of the soup", tensor.name));
    }
  }
  WeightsHasher hasher(soup.accumulator->tensors());
  BlockLoop loop;
  loop.threads = threads;
  loop.block_elements = digest_block_elements;
  loop.run(tensors, [&](std::size_t) {
    return [&, reader = SumsReader(&soup)](const Block& block) mutable {
      if (is_floating(tensors[block.tensor].dtype)) {
        const std::size_t kept = *soup.accumulator->find(tensors[block.tensor].name);
        reader.read(block.tensor, kept, block);
        hasher.add(kept, block.first, reader.kept());
      }
    };
  });
  return hasher.finish();
}

}  // namespace soup
