// A whole safetensors file, through both of soup's readers: they must agree on it and give the same bytes.
#include <cstring>
#include <optional>
#include <vector>

#include "core/safetensors.hpp"
#include "merge/weights.hpp"
#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  static const std::filesystem::path path = folder / "x.safetensors";
  fuzz::write_plainly(path, fuzz::text_of(data, size));
  std::optional<SafetensorsFile> mapped;
  fuzz::read_input(path.native(), [&] { mapped.emplace(path); });
  std::optional<Weights> weights;
  fuzz::read_input(path.native(), [&] { weights.emplace(Weights::open(path)); });
  fuzz::require(mapped.has_value() == weights.has_value(), "one reader takes the file, the other does not");
  if (!weights) {
    return 0;
  }
  fuzz::require(mapped->tensors().size() == weights->tensors().size(), "the readers find different tensors");
  fuzz::require(mapped->metadata() == weights->metadata(), "the readers find different metadata");
  return fuzz::read_input(path.native(), [&] {
    for (std::size_t i = 0; i < weights->tensors().size(); ++i) {
      const TensorInfo& tensor = mapped->tensors()[i];
      const WeightTensor& same = weights->tensors()[i];
      fuzz::require(tensor.name == same.name && tensor.dtype == same.dtype && tensor.shape == same.shape,
                    "the readers find different tensors");
      const std::span<const std::byte> expected = mapped->bytes(tensor);
      std::vector<std::byte> bytes(same.bytes());
      weights->read(i, 0, bytes);
      fuzz::require(bytes.size() == expected.size() && std::equal(bytes.begin(), bytes.end(), expected.begin()),
                    "the readers give different bytes");
    }
  });
}
