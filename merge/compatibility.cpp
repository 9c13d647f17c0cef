// Common origin or no soup (DESIGN promise 2): what ingredients must share, checked before any work.
#include "merge/compatibility.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/tensor_layout.hpp"
#include "merge/float_formats.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

constexpr const char* origin_hint = "ingredients of one soup are trained from one base, with one configuration";

TensorLayout layout_by_name(const Weights& weights) {
  std::vector<const WeightTensor*> tensors;
  for (const WeightTensor& tensor : weights.tensors()) {
    tensors.push_back(&tensor);
  }
  std::ranges::sort(tensors, {}, [](const WeightTensor* tensor) { return std::string_view(tensor->name); });
  TensorLayout layout;
  for (const WeightTensor* tensor : tensors) {
    layout.append(tensor->name, tensor->shape);
  }
  return layout;
}

// The first name that only one of two sorted lists has, as a sentence; "" when they are equal.
template <typename Name>
std::string first_missing(const std::vector<Name>& a, const std::string& a_name, const std::vector<Name>& b,
                          const std::string& b_name) {
  const auto text = [](const Name& name) { return fmt::format("{}", std::filesystem::path(name).string()); };
  for (const Name& name : a) {
    if (!std::ranges::binary_search(b, name)) {
      return fmt::format("{} is in {} but not in {}", text(name), a_name, b_name);
    }
  }
  for (const Name& name : b) {
    if (!std::ranges::binary_search(a, name)) {
      return fmt::format("{} is in {} but not in {}", text(name), b_name, a_name);
    }
  }
  return {};
}

std::vector<std::string> part_names(const ModelFolder& model) {
  std::vector<std::string> names;
  for (const ModelPart& part : model.parts) {
    names.push_back(part.name);
  }
  return names;
}

// What the file says, without what libraries put into it at every save.
nlohmann::json meaning_of(const std::filesystem::path& path) {
  nlohmann::json value = read_json(path);
  if (value.is_object()) {
    for (const char* key : {"_name_or_path", "_diffusers_version", "transformers_version"}) {
      value.erase(key);
    }
  }
  return value;
}

void require_same_file(const std::filesystem::path& a, const std::string& a_name, const std::filesystem::path& b,
                       const std::string& b_name) {
  const Digest mine = sha256_file(a);
  const Digest other = sha256_file(b);
  if (mine == other) {
    return;
  }
  if (a.extension() != ".json") {
    throw DataError(b, fmt::format("its SHA-256 is {} in {} and {} in {}", mine.brief(), a_name, other.brief(), b_name),
                    origin_hint);
  }
  const nlohmann::json difference = nlohmann::json::diff(meaning_of(a), meaning_of(b));
  if (!difference.empty()) {
    throw DataError(b,
                    fmt::format("differs between {} and {}, first at {}", a_name, b_name,
                                difference.front().at("path").get<std::string>()),
                    origin_hint);
  }
}

void require_equal(const std::string& difference, const std::filesystem::path& path) {
  if (!difference.empty()) {
    throw DataError(path, difference, origin_hint);
  }
}

}  // namespace

void require_same_base(std::span<const Origin> origins) {
  const auto text = [](const Origin& origin) {
    return origin.base_digest ? origin.base_digest->hex() : std::string("not recorded");
  };
  for (const Origin& origin : origins) {
    if (origin.base_digest != origins.front().base_digest) {
      throw DataError(origin.name,
                      fmt::format("its base is {}, but that of {} is {}", text(origin), origins.front().name,
                                  text(origins.front())),
                      origin_hint);
    }
  }
}

void require_same_tensors(const Weights& a, const std::string& a_name, const Weights& b, const std::string& b_name,
                          FloatTypes float_types) {
  require_equal(layout_by_name(a).difference(layout_by_name(b), a_name, b_name), b.path());
  for (const WeightTensor& mine : a.tensors()) {
    const std::optional<std::size_t> index = b.find(mine.name);
    SOUP_REQUIRE(index, "equal layouts with different tensors");
    const WeightTensor& theirs = b.tensors()[*index];
    const bool floats = is_floating(mine.dtype) && is_floating(theirs.dtype);
    if (mine.dtype != theirs.dtype && !(floats && float_types == FloatTypes::any)) {
      throw DataError(b.path(),
                      fmt::format("tensor {} is {} in {} and {} in {}", mine.name, name_of(mine.dtype), a_name,
                                  name_of(theirs.dtype), b_name),
                      origin_hint);
    }
  }
}

void require_equal_integers(const WeightTensor& tensor, std::uint64_t first, const NamedBytes& a, const NamedBytes& b,
                            const std::filesystem::path& path) {
  const auto unequal = std::ranges::mismatch(a.bytes, b.bytes);
  if (unequal.in1 != a.bytes.end()) {
    const auto at = static_cast<std::uint64_t>(unequal.in1 - a.bytes.begin()) / size_of(tensor.dtype);
    throw DataError(path,
                    fmt::format("tensor {} ({}) differs between {} and {}, first at element {}", tensor.name,
                                name_of(tensor.dtype), a.name, b.name, first + at),
                    "integer tensors are never averaged and must be equal");
  }
}

void require_same_model(const ModelFolder& a, const std::string& a_name, const ModelFolder& b,
                        const std::string& b_name, std::span<const std::string> averaged_parts) {
  require_equal(first_missing(part_names(a), a_name, part_names(b), b_name), b.source);
  require_equal(first_missing(a.others, a_name, b.others, b_name), b.source);
  for (const ModelPart& part : a.parts) {
    if (std::ranges::find(averaged_parts, part.name) != averaged_parts.end()) {
      continue;
    }
    const Digest mine = part_digest(a, part);
    const Digest other = part_digest(b, *b.find(part.name));
    if (mine != other) {
      throw DataError(b.source,
                      fmt::format("the frozen part {} has weights {} in {} and {} in {}", part.name, mine.brief(),
                                  a_name, other.brief(), b_name),
                      origin_hint);
    }
  }
  for (const std::filesystem::path& file : a.others) {
    require_same_file(a.path / a.place_of(file), a_name, b.path / b.place_of(file), b_name);
  }
}

}  // namespace soup
