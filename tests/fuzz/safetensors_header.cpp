// The header of a safetensors file: two bytes with the size of the data behind it, then the header's text.
#include "core/safetensors_header.hpp"

#include <algorithm>

#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  constexpr std::size_t size_bytes = 2;
  if (size < size_bytes) {
    return 0;
  }
  const std::uint64_t data_bytes = data[0] + 256U * data[1];
  return fuzz::read_input("x.safetensors", [&] {
    const SafetensorsHeader header =
        parse_safetensors_header(fuzz::text_of(data + size_bytes, size - size_bytes), data_bytes, "x.safetensors");
    std::uint64_t covered = 0;
    for (const TensorInfo& tensor : header.tensors) {
      fuzz::require(tensor.begin == covered && tensor.end >= tensor.begin, "a hole or an overlap passed");
      const ByteCount count = byte_count(tensor.shape, tensor.dtype);
      fuzz::require(count.valid && count.bytes == tensor.end - tensor.begin, "a shape of another size passed");
      covered = tensor.end;
    }
    fuzz::require(covered == data_bytes, "tensors that do not fill the file passed");
    const SafetensorsHeader again = parse_safetensors_header(format_safetensors_header(header.tensors, header.metadata),
                                                             data_bytes, "written.safetensors");
    const auto same = [](const TensorInfo& a, const TensorInfo& b) {
      return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.begin == b.begin && a.end == b.end;
    };
    fuzz::require(again.metadata == header.metadata && std::ranges::equal(again.tensors, header.tensors, same),
                  "a header that is written differs from what was read");
  });
}
