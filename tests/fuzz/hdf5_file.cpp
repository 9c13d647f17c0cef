// A whole HDF5 file of weights.
#include <algorithm>
#include <vector>

#include "merge/weights.hpp"
#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  static const std::filesystem::path path = folder / "x.h5";
  fuzz::write_plainly(path, fuzz::text_of(data, size));
  return fuzz::read_input(path.native(), [] {
    const Weights weights = Weights::open(path);
    constexpr std::uint64_t most_read = 4096;  // a compressed tensor can be far larger than its file
    for (std::size_t i = 0; i < weights.tensors().size(); ++i) {
      const WeightTensor& tensor = weights.tensors()[i];
      std::vector<std::byte> bytes(std::min(tensor.elements, most_read) * size_of(tensor.dtype));
      weights.read(i, 0, bytes);
    }
  });
}
