#include "core/safetensors.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>

#include <cerrno>
#include <set>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/safetensors_header.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

// A whole file mapped for reading.
class FileMap {
 public:
  FileMap(const FileDescriptor& file, std::uint64_t size, const std::filesystem::path& path) {
    void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) {
      const int error = errno;
      throw DataError(path, "cannot map into memory: " + errno_text(error), errno_hint(error));
    }
    bytes_ = {static_cast<const std::byte*>(address), size};
  }
  ~FileMap() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

struct SafetensorsFile::Impl {
  explicit Impl(const std::filesystem::path& its_path) : Impl(its_path, FileDescriptor(its_path, O_RDONLY)) {}
  Impl(const std::filesystem::path& its_path, const FileDescriptor& file)
      : Impl(its_path, file, read_safetensors_header(file, its_path)) {}
  Impl(const std::filesystem::path& its_path, const FileDescriptor& file, SafetensorsFileHeader head)
      : path(its_path),
        map(file, head.file_bytes, its_path),
        data(map.bytes().subspan(head.data_begin)),
        header(std::move(head.header)) {
    for (std::size_t i = 0; i < header.tensors.size(); ++i) {
      index.emplace(header.tensors[i].name, i);
    }
  }

  std::filesystem::path path;
  FileMap map;
  std::span<const std::byte> data;
  SafetensorsHeader header;
  std::map<std::string_view, std::size_t> index;  // views of the names in `header`
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const {
  return impl_->path;
}

std::span<const TensorInfo> SafetensorsFile::tensors() const {
  return impl_->header.tensors;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = impl_->index.find(name);
  return found == impl_->index.end() ? nullptr : &impl_->header.tensors[found->second];
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return impl_->header.metadata;
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& tensor) const {
  SOUP_REQUIRE(tensor.begin <= tensor.end && tensor.end <= impl_->data.size(),
               "tensor " + tensor.name + " is not one of " + impl_->path.string());
  return impl_->data.subspan(tensor.begin, tensor.end - tensor.begin);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::set<std::string_view> names;
  std::vector<TensorInfo> infos;
  infos.reserve(tensors.size());
  std::uint64_t offset = 0;
  for (const TensorSource& tensor : tensors) {
    SOUP_REQUIRE(is_utf8(tensor.name) && tensor.name != "__metadata__", "a tensor may not be named " + tensor.name);
    SOUP_REQUIRE(names.insert(tensor.name).second, "tensor " + tensor.name + " is to be written twice");
    const ByteCount expected = byte_count(tensor.shape, tensor.dtype);
    SOUP_REQUIRE(expected.valid && expected.bytes == tensor.bytes.size(),
                 fmt::format("tensor {} has {} bytes, which is not shape [{}] of {}", tensor.name, tensor.bytes.size(),
                             fmt::join(tensor.shape, ", "), name_of(tensor.dtype)));
    infos.push_back({tensor.name, tensor.dtype, tensor.shape, offset, offset + expected.bytes});
    offset += expected.bytes;
  }
  for (const auto& [key, value] : metadata) {
    SOUP_REQUIRE(is_utf8(key) && is_utf8(value), "the metadata of " + path.string() + " is not UTF-8");
  }
  const std::string header = format_safetensors_header(infos, metadata);
  SOUP_REQUIRE(header.size() <= max_safetensors_header_bytes,
               "the header of " + path.string() + " would have " + std::to_string(header.size()) + " bytes");

  const std::uint64_t header_bytes = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(header);
  for (const TensorSource& tensor : tensors) {
    file.write(tensor.bytes);
  }
  file.commit();
}

}  // namespace soup
