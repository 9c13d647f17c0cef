// Common origin or no soup (DESIGN promise 2): what ingredients must share, checked before any work.
#include "merge/compatibility.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/tensor_layout.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

constexpr const char* origin_hint = "ingredients of one soup are trained from one base, with one configuration";

TensorLayout layout_by_name(const SafetensorsFile& file) {
  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& tensor : file.tensors()) {
    tensors.push_back(&tensor);
  }
  std::ranges::sort(tensors, {}, &TensorInfo::name);
  TensorLayout layout;
  for (const TensorInfo* tensor : tensors) {
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

void require_same_tensors(const SafetensorsFile& a, const std::string& a_name, const SafetensorsFile& b,
                          const std::string& b_name, FloatTypes float_types) {
  require_equal(layout_by_name(a).difference(layout_by_name(b), a_name, b_name), b.path());
  for (const TensorInfo& mine : a.tensors()) {
    const TensorInfo* theirs = b.find(mine.name);
    SOUP_REQUIRE(theirs != nullptr, "equal layouts with different tensors");
    const bool floats = is_floating(mine.dtype) && is_floating(theirs->dtype);
    if (mine.dtype != theirs->dtype && !(floats && float_types == FloatTypes::any)) {
      throw DataError(b.path(),
                      fmt::format("tensor {} is {} in {} and {} in {}", mine.name, name_of(mine.dtype), a_name,
                                  name_of(theirs->dtype), b_name),
                      origin_hint);
    }
    if (!is_floating(mine.dtype)) {
      const std::span<const std::byte> ours = a.bytes(mine);
      const auto unequal = std::ranges::mismatch(ours, b.bytes(*theirs));
      if (unequal.in1 != ours.end()) {
        const auto element = static_cast<std::size_t>(unequal.in1 - ours.begin()) / size_of(mine.dtype);
        throw DataError(b.path(),
                        fmt::format("tensor {} ({}) differs between {} and {}, first at element {}", mine.name,
                                    name_of(mine.dtype), a_name, b_name, element),
                        "integer tensors are never averaged and must be equal");
      }
    }
  }
}

void require_same_model(const ModelFolder& a, const std::string& a_name, const ModelFolder& b,
                        const std::string& b_name, std::span<const std::string> averaged_parts) {
  require_equal(first_missing(part_names(a), a_name, part_names(b), b_name), b.path);
  require_equal(first_missing(a.others, a_name, b.others, b_name), b.path);
  for (const ModelPart& part : a.parts) {
    const ModelPart* theirs = b.find(part.name);
    require_equal(first_missing(part.files, a_name, theirs->files, b_name), b.path);
    if (std::ranges::find(averaged_parts, part.name) != averaged_parts.end()) {
      continue;
    }
    const Digest mine = part_digest(a, part);
    const Digest other = part_digest(b, *theirs);
    if (mine != other) {
      throw DataError(b.path,
                      fmt::format("the frozen part {} has weights {} in {} and {} in {}", part.name, mine.brief(),
                                  a_name, other.brief(), b_name),
                      origin_hint);
    }
  }
  for (const std::filesystem::path& file : a.others) {
    const Digest mine = sha256_file(a.path / file);
    const Digest other = sha256_file(b.path / file);
    if (mine != other) {
      throw DataError(b.path / file,
                      fmt::format("its SHA-256 is {} in {} and {} in {}", mine.brief(), a_name, other.brief(), b_name),
                      origin_hint);
    }
  }
}

}  // namespace soup
