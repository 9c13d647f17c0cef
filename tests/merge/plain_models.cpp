// Weights files of one part for tests of methods: tensors of several blocks, any floating type, one file or shards.
#include "tests/merge/plain_models.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "merge/float_formats.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights.hpp"
#include "tests/merge/models.hpp"

namespace soup::test {

namespace fs = std::filesystem;

namespace {

struct Shape {
  const char* name;
  std::vector<std::int64_t> shape;
  std::size_t count;
};
const std::array<Shape, 3> shapes{
    {{"down_blocks.0.weight", {300, 500}, 150000}, {"mid.weight", {50, 100}, 5000}, {"up.bias", {7}, 7}}};

std::vector<std::byte> stored(const std::string& model, const Shape& shape, const PlainForm& form) {
  const std::vector<float> base = weights_named(fmt::format("base {}", shape.name), shape.count);
  std::vector<double> values(base.begin(), base.end());
  if (model != "base") {
    const std::vector<float> delta = weights_named(fmt::format("{} {}", model, shape.name), shape.count);
    const std::vector<float> common = weights_named(fmt::format("common {}", shape.name), shape.count);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] += delta[i] + form.shared * common[i];
    }
  }
  std::vector<std::byte> bytes(values.size() * size_of(form.dtype));
  encode(values, form.dtype, bytes);
  return bytes;
}

}  // namespace

MergeInput write_plain(const fs::path& root, const std::string& name, const PlainForm& form) {
  const std::array<std::int64_t, 2> steps{1, form.steps};
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorSource> tensors;
  for (const Shape& shape : shapes) {
    bytes.push_back(stored(name, shape, form));
    tensors.push_back({shape.name, form.dtype, shape.shape, bytes.back()});
  }
  tensors.insert(tensors.begin() + 1, {"steps", DType::i64, {2}, std::as_bytes(std::span(steps))});
  fs::create_directories(root);
  if (!form.sharded) {
    write_safetensors(root / (name + ".safetensors"), tensors, {});
    return {name, root / (name + ".safetensors")};
  }
  nlohmann::json map = nlohmann::json::object();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string file = fmt::format("{}-{}.safetensors", name, i);
    write_safetensors(root / file, std::span(tensors).subspan(i, 1), {});
    map[tensors[i].name] = file;
  }
  write_json(root / (name + ".safetensors.index.json"), {{"metadata", nlohmann::json::object()}, {"weight_map", map}});
  return {name, root / (name + ".safetensors.index.json")};
}

Values values_of(const fs::path& path) {
  const Weights weights = Weights::open(path);
  Values values;
  for (std::size_t i = 0; i < weights.tensors().size(); ++i) {
    const WeightTensor& tensor = weights.tensors()[i];
    if (!is_floating(tensor.dtype)) {
      continue;
    }
    std::vector<std::byte> bytes(tensor.bytes());
    weights.read(i, 0, bytes);
    std::vector<double>& doubles = values[tensor.name];
    doubles.resize(tensor.elements);
    decode(tensor.dtype, bytes, doubles);
  }
  return values;
}

}  // namespace soup::test
