// The tensors of one model part, read piece by piece from wherever they lie: one safetensors file, several, or HDF5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.hpp"

namespace soup {

struct WeightTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t elements = 0;  // product of `shape`
  std::size_t file = 0;        // of Weights::files()

  [[nodiscard]] std::uint64_t bytes() const { return elements * size_of(dtype); }
};

// Where tensors lie. Reading goes through the system's calls, not a memory map: a file that shrinks or a disk that
// fails is then an error with a path, not a signal, and memory use is the caller's buffer.
class WeightStore {
 public:
  virtual ~WeightStore() = default;
  // Bytes of a tensor from byte `offset` on; may be called from several threads. Throws DataError.
  virtual void read(std::size_t tensor, std::uint64_t offset, std::span<std::byte> out) const = 0;
  // Tells the system that these bytes will be read soon.
  virtual void will_read(std::size_t tensor, std::uint64_t offset, std::uint64_t bytes) const = 0;
};

// What opening a kind of file gives.
struct OpenedWeights {
  std::vector<WeightTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::unique_ptr<WeightStore> store;
};

class Weights {
 public:
  // A .safetensors file, a *.safetensors.index.json with the files it names, or an HDF5 file (.h5, .hdf5). Throws
  // DataError: not one of these, damaged, a tensor in two files, an index that does not fit its files.
  static Weights open(const std::filesystem::path& path);
  // Several .safetensors files that together hold one part. `path` stands for them in messages.
  static Weights open(const std::filesystem::path& path, const std::vector<std::filesystem::path>& files);

  // What was opened, for messages.
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // The files that hold tensors.
  [[nodiscard]] const std::vector<std::filesystem::path>& files() const { return files_; }
  // In the order of the files and of their offsets.
  [[nodiscard]] std::span<const WeightTensor> tensors() const { return tensors_; }
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;
  // The number here of a tensor of other weights. Throws InvariantError where there is none of its name and shape: that
  // is refused (require_same_tensors) before anyone asks.
  [[nodiscard]] std::size_t same(const WeightTensor& tensor) const;
  // Of the first file.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  [[nodiscard]] std::uint64_t bytes() const;  // of all tensors

  // out.size() bytes from element `first` on. May be called from several threads. Throws DataError naming the file.
  void read(std::size_t tensor, std::uint64_t first, std::span<std::byte> out) const;
  // Tells the system that these elements will be read soon.
  void will_read(std::size_t tensor, std::uint64_t first, std::uint64_t elements) const;
  // For who reads a tensor from its beginning to its end, on however many threads: reads `count` elements from `first`
  // on into `buffer`, which becomes as long as they are, and lets the system begin with what comes after them.
  void read_on(std::size_t tensor, std::uint64_t first, std::uint64_t count, std::vector<std::byte>& buffer) const;

 private:
  Weights(std::filesystem::path path, std::vector<std::filesystem::path> files, OpenedWeights opened);

  std::filesystem::path path_;
  std::vector<std::filesystem::path> files_;
  std::vector<WeightTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::unique_ptr<WeightStore> store_;
  std::map<std::string_view, std::size_t> index_;  // views of the names in tensors_
};

}  // namespace soup
