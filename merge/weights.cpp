// The tensors of one model part, read piece by piece from wherever they lie.
#include "merge/weights.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/error.hpp"
#include "merge/hdf5_store.hpp"
#include "merge/safetensors_store.hpp"

namespace soup {

namespace {

// How far ahead the system is told what will be read: enough for disks and network file systems to work at full speed.
constexpr std::uint64_t ahead_elements = std::uint64_t{4} << 20;

}  // namespace

Weights::Weights(std::filesystem::path path, std::vector<std::filesystem::path> files, OpenedWeights opened)
    : path_(std::move(path)),
      files_(std::move(files)),
      tensors_(std::move(opened.tensors)),
      metadata_(std::move(opened.metadata)),
      store_(std::move(opened.store)) {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    index_.emplace(tensors_[i].name, i);
  }
}

Weights Weights::open(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  std::vector<std::filesystem::path> files{path};
  if (name.ends_with(".safetensors")) {
    return {path, files, open_safetensors(files)};
  }
  if (name.ends_with(".safetensors.index.json")) {
    OpenedWeights opened = open_safetensors_index(path, files);
    return {path, std::move(files), std::move(opened)};
  }
  if (name.ends_with(".h5") || name.ends_with(".hdf5")) {
    return {path, files, open_hdf5(path)};
  }
  throw DataError(
      path, "is no kind of weights file that soup knows",
      "it reads .safetensors, .safetensors.index.json, .h5 and .hdf5, and never pickles (.bin, .pt, .ckpt)");
}

Weights Weights::open(const std::filesystem::path& path, const std::vector<std::filesystem::path>& files) {
  return {path, files, open_safetensors(files)};
}

std::optional<std::size_t> Weights::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? std::nullopt : std::optional(found->second);
}

std::size_t Weights::same(const WeightTensor& tensor) const {
  const std::optional<std::size_t> index = find(tensor.name);
  SOUP_REQUIRE(index && tensors_[*index].shape == tensor.shape, "weights with other tensors were not refused before");
  return *index;
}

std::uint64_t Weights::bytes() const {
  std::uint64_t total = 0;
  for (const WeightTensor& tensor : tensors_) {
    total += tensor.bytes();
  }
  return total;
}

void Weights::read(std::size_t tensor, std::uint64_t first, std::span<std::byte> out) const {
  const WeightTensor& info = tensors_.at(tensor);
  const std::uint64_t offset = first * size_of(info.dtype);
  SOUP_REQUIRE(offset <= info.bytes() && out.size() <= info.bytes() - offset,
               fmt::format("{} bytes from element {} of tensor {}, which has {} elements", out.size(), first, info.name,
                           info.elements));
  store_->read(tensor, offset, out);
}

void Weights::read_on(std::size_t tensor, std::uint64_t first, std::uint64_t count,
                      std::vector<std::byte>& buffer) const {
  if (first % ahead_elements == 0) {
    will_read(tensor, first, 2 * ahead_elements);
  }
  buffer.resize(count * size_of(tensors_.at(tensor).dtype));
  read(tensor, first, buffer);
}

void Weights::will_read(std::size_t tensor, std::uint64_t first, std::uint64_t elements) const {
  const WeightTensor& info = tensors_.at(tensor);
  const std::uint64_t begin = std::min(first, info.elements);
  const std::uint64_t end = std::min(info.elements - begin, elements) + begin;
  if (begin < end) {
    store_->will_read(tensor, begin * size_of(info.dtype), (end - begin) * size_of(info.dtype));
  }
}

}  // namespace soup
