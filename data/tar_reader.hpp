// A tar archive read front to back, plain or gzip-compressed (libarchive).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace soup {

struct TarMember {
  std::string name;  // as the archive has it
  bool is_file = true;
  bool is_folder = false;
};

// Nothing is ever written to the disk. Throws DataError naming the archive: not a tar, damaged, ends early. After an
// error there are no more members.
class TarReader {
 public:
  explicit TarReader(const std::filesystem::path& path);
  ~TarReader();
  TarReader(TarReader&&) noexcept;
  TarReader& operator=(TarReader&&) noexcept;

  // The next member, or nullopt behind the last one.
  std::optional<TarMember> next();
  // The content of the member that next() gave last; nullopt when it is longer than `most` bytes.
  std::optional<std::vector<std::byte>> read(std::uint64_t most);
  // Of the archive's file, so far.
  [[nodiscard]] std::uint64_t bytes_read() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soup
