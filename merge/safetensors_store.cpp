// Tensors in safetensors files, read with pread.
#include "merge/safetensors_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/safetensors_header.hpp"
#include "core/text.hpp"
#include "core/weights_index.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

class SafetensorsStore final : public WeightStore {
 public:
  void add_file(const fs::path& path, std::size_t number, std::vector<WeightTensor>& tensors,
                std::map<std::string, std::string>& metadata) {
    File file{path, FileDescriptor(path, O_RDONLY)};
    SafetensorsFileHeader head = read_safetensors_header(file.descriptor, path);
    for (TensorInfo& tensor : head.header.tensors) {
      places_.push_back({number, head.data_begin + tensor.begin});
      const std::uint64_t elements = (tensor.end - tensor.begin) / size_of(tensor.dtype);
      tensors.push_back({std::move(tensor.name), tensor.dtype, std::move(tensor.shape), elements, number});
    }
    if (number == 0) {
      metadata = std::move(head.header.metadata);
    }
    files_.push_back(std::move(file));
  }

  void read(std::size_t tensor, std::uint64_t offset, std::span<std::byte> out) const override {
    const Place& place = places_.at(tensor);
    const File& file = files_[place.file];
    file.descriptor.read_at(place.begin + offset, out, file.path);
  }

  void will_read(std::size_t tensor, std::uint64_t offset, std::uint64_t bytes) const override {
    const Place& place = places_.at(tensor);
    // Only advice: what it returns does not matter.
    static_cast<void>(::posix_fadvise(files_[place.file].descriptor.get(), static_cast<off_t>(place.begin + offset),
                                      static_cast<off_t>(bytes), POSIX_FADV_WILLNEED));
  }

 private:
  struct File {
    fs::path path;
    FileDescriptor descriptor;
  };
  struct Place {
    std::size_t file;
    std::uint64_t begin;  // in the file
  };
  std::vector<File> files_;
  std::vector<Place> places_;
};

}  // namespace

OpenedWeights open_safetensors(const std::vector<fs::path>& files) {
  OpenedWeights opened;
  auto store = std::make_unique<SafetensorsStore>();
  std::unordered_map<std::string, std::size_t> seen;  // tensor -> file
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::size_t before = opened.tensors.size();
    store->add_file(files[i], i, opened.tensors, opened.metadata);
    for (std::size_t tensor = before; tensor < opened.tensors.size(); ++tensor) {
      const std::string& name = opened.tensors[tensor].name;
      const auto [place, is_new] = seen.emplace(name, i);
      if (!is_new) {
        throw DataError(files[i], "tensor " + excerpt(name) + " is also in " + files[place->second].string(),
                        "one part of a model holds each tensor once; for variants in one folder see --variant");
      }
    }
  }
  opened.store = std::move(store);
  return opened;
}

OpenedWeights open_safetensors_index(const fs::path& index, std::vector<fs::path>& files) {
  const std::map<std::string, std::string> map = weight_map(read_json(index), index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) {
    names.insert(file);
  }
  files.clear();
  for (const std::string& name : names) {
    files.push_back(index.parent_path() / name);
    std::error_code error;
    if (!fs::exists(files.back(), error)) {
      throw DataError(files.back(), "does not exist, but " + index.filename().string() + " names it");
    }
  }
  OpenedWeights opened = open_safetensors(files);
  for (const WeightTensor& tensor : opened.tensors) {
    const auto entry = map.find(tensor.name);
    const std::string holder = files[tensor.file].filename().string();
    if (entry == map.end() || entry->second != holder) {
      throw DataError(index, fmt::format("tensor {} is in {}, but the index says {}", excerpt(tensor.name), holder,
                                         entry == map.end() ? "nothing of it" : entry->second));
    }
  }
  if (opened.tensors.size() != map.size()) {
    std::set<std::string_view> present;
    for (const WeightTensor& tensor : opened.tensors) {
      present.insert(tensor.name);
    }
    for (const auto& [tensor, file] : map) {
      if (!present.contains(tensor)) {
        throw DataError(index,
                        fmt::format("the index names tensor {} in {}, but it is not there", excerpt(tensor), file));
      }
    }
  }
  return opened;
}

}  // namespace soup
