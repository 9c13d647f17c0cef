// A *.safetensors.index.json beside two files of weights, with a third file outside its folder.
#include <span>

#include "core/safetensors.hpp"
#include "merge/weights.hpp"
#include "tests/fuzz/reader.hpp"

namespace {

// "a.safetensors" holds the tensors a and b, "b.safetensors" holds c; "outside.safetensors", a folder up, holds d.
struct Files {
  Files() {
    const std::byte byte{7};
    const auto tensor = [&byte](const char* name) {
      return soup::TensorSource{name, soup::DType::u8, {1}, std::span(&byte, 1)};
    };
    std::filesystem::create_directories(inside);
    soup::write_safetensors(inside / "a.safetensors", std::vector{tensor("a"), tensor("b")}, {});
    soup::write_safetensors(inside / "b.safetensors", std::vector{tensor("c")}, {});
    soup::write_safetensors(folder / "outside.safetensors", std::vector{tensor("d")}, {});
  }
  soup::test::TemporaryFolder folder;
  std::filesystem::path inside = folder / "inside";
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const Files files;
  const std::filesystem::path index = files.inside / "x.safetensors.index.json";
  fuzz::write_plainly(index, fuzz::text_of(data, size));
  return fuzz::read_input(files.inside.native(), [&] {
    const Weights weights = Weights::open(index);
    for (const std::filesystem::path& file : weights.files()) {
      fuzz::require(std::filesystem::equivalent(file.parent_path(), files.inside), "a file outside the folder passed");
    }
    for (const WeightTensor& tensor : weights.tensors()) {
      fuzz::require(weights.files()[tensor.file].filename() == (tensor.name == "c" ? "b.safetensors" : "a.safetensors"),
                    "a tensor was found in the wrong file");
    }
  });
}
