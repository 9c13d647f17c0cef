// A soup's integer sums, read back from its accumulator and held against its weights.
#include "merge/soup_sums.hpp"

#include <fmt/format.h>

#include <vector>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/float_formats.hpp"
#include "merge/sums_reader.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

SoupSumsDigests check_sums(const SumStart& soup, int threads) {
  const std::span<const WeightTensor> tensors = soup.soup->tensors();
  for (const WeightTensor& tensor : tensors) {
    const std::optional<std::size_t> sums = soup.accumulator->find(tensor.name);
    if (is_floating(tensor.dtype) && (!sums || soup.accumulator->tensors()[*sums].shape != tensor.shape)) {
      throw DataError(soup.accumulator->path(), fmt::format("it has no sums for tensor {} of the soup", tensor.name));
    }
  }
  WeightsHasher soup_hasher(tensors);
  WeightsHasher accumulator_hasher(soup.accumulator->tensors());
  BlockLoop loop;
  loop.threads = threads;
  loop.block_elements = digest_block_elements;
  loop.run(tensors, [&](std::size_t) {
    return [&, reader = SumsReader(&soup), bytes = std::vector<std::byte>()](const Block& block) mutable {
      const WeightTensor& tensor = tensors[block.tensor];
      if (is_floating(tensor.dtype)) {
        reader.read(block.tensor, *soup.accumulator->find(tensor.name), block);
        soup_hasher.add(block.tensor, block.first, reader.soup());
        accumulator_hasher.add(*soup.accumulator->find(tensor.name), block.first, reader.kept());
        return;
      }
      soup.soup->read_on(block.tensor, block.first, block.count, bytes);
      soup_hasher.add(block.tensor, block.first, bytes);
    };
  });
  return {soup_hasher.finish(), accumulator_hasher.finish()};
}

}  // namespace soup
