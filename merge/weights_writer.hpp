// Tensors written piece by piece into one safetensors file, or several with an index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "merge/safetensors_stream.hpp"

namespace soup {

// How a list of tensors is spread over files.
struct FileLayout {
  std::vector<std::filesystem::path> files;  // relative to the folder they are written into
  std::vector<std::size_t> file_of;          // tensor -> file
  std::filesystem::path index;               // beside them; empty: none is written
};

// All tensors in one file.
FileLayout in_one_file(const std::filesystem::path& file, std::size_t tensors);
// Files of at most `shard_bytes` of tensors each (a larger tensor has one to itself), named as transformers and
// diffusers do: <stem>-00001-of-00003.safetensors and <stem>.safetensors.index.json; one file when all fit.
FileLayout in_shards(const std::filesystem::path& folder, const std::string& stem, std::span<const TensorForm> tensors,
                     std::uint64_t shard_bytes);

class WeightsWriter {
 public:
  // Takes the disk space at once. `metadata_bytes`: room for metadata in each header. Throws DataError.
  WeightsWriter(const std::filesystem::path& folder, const std::vector<TensorForm>& tensors, FileLayout layout,
                std::size_t metadata_bytes);

  // Bytes of tensor number `tensor` from element `first` on. Calls for different bytes may come from different threads.
  void write(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes);
  void set_metadata(const std::map<std::string, std::string>& metadata);

 private:
  struct Place {
    std::size_t file = 0;
    std::size_t tensor = 0;  // in that file
    std::size_t element_bytes = 0;
  };
  std::vector<std::unique_ptr<SafetensorsStream>> streams_;
  std::vector<Place> places_;
};

}  // namespace soup
