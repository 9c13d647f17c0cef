// Tensors written piece by piece into one safetensors file, or several with an index.
#include "merge/weights_writer.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/safetensors_header.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

std::uint64_t bytes_of(const TensorForm& tensor) {
  const ByteCount count = byte_count(tensor.shape, tensor.dtype);
  SOUP_REQUIRE(count.valid, "tensor " + tensor.name + " has no valid size");
  return count.bytes;
}

void write_index(const std::filesystem::path& folder, const std::vector<TensorForm>& tensors,
                 const FileLayout& layout) {
  std::uint64_t total = 0;
  nlohmann::json map = nlohmann::json::object();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    total += bytes_of(tensors[i]);
    map[tensors[i].name] = layout.files[layout.file_of[i]].filename().string();
  }
  write_json(folder / layout.index, {{"metadata", {{"total_size", total}}}, {"weight_map", map}});
}

}  // namespace

FileLayout in_one_file(const std::filesystem::path& file, std::size_t tensors) {
  return {{file}, std::vector<std::size_t>(tensors, 0), {}};
}

FileLayout in_shards(const std::filesystem::path& folder, const std::string& stem, std::span<const TensorForm> tensors,
                     std::uint64_t shard_bytes) {
  FileLayout layout;
  std::uint64_t filled = 0;
  std::size_t file = 0;
  for (const TensorForm& tensor : tensors) {
    const std::uint64_t bytes = bytes_of(tensor);
    if (filled > 0 && filled + bytes > shard_bytes) {
      ++file;
      filled = 0;
    }
    filled += bytes;
    layout.file_of.push_back(file);
  }
  if (file == 0) {
    return in_one_file(folder / (stem + ".safetensors"), tensors.size());
  }
  for (std::size_t i = 0; i <= file; ++i) {
    layout.files.push_back(folder / fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, file + 1));
  }
  layout.index = folder / (stem + ".safetensors.index.json");
  return layout;
}

WeightsWriter::WeightsWriter(const std::filesystem::path& folder, const std::vector<TensorForm>& tensors,
                             FileLayout layout, std::size_t metadata_bytes) {
  SOUP_REQUIRE(layout.file_of.size() == tensors.size(), "a layout of other tensors");
  std::vector<std::vector<TensorForm>> forms(layout.files.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::size_t file = layout.file_of[i];
    places_.push_back({file, forms.at(file).size(), size_of(tensors[i].dtype)});
    forms[file].push_back(tensors[i]);
  }
  for (std::size_t i = 0; i < forms.size(); ++i) {
    const std::filesystem::path path = folder / layout.files[i];
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) {
      throw DataError(path, "cannot make its folder: " + error.message());
    }
    streams_.push_back(std::make_unique<SafetensorsStream>(path, forms[i], metadata_bytes));
  }
  if (!layout.index.empty()) {
    write_index(folder, tensors, layout);
  }
}

void WeightsWriter::write(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes) {
  const Place& place = places_.at(tensor);
  streams_[place.file]->write(place.tensor, first * place.element_bytes, bytes);
}

void WeightsWriter::set_metadata(const std::map<std::string, std::string>& metadata) {
  for (const std::unique_ptr<SafetensorsStream>& stream : streams_) {
    stream->set_metadata(metadata);
  }
}

}  // namespace soup
