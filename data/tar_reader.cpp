#include "data/tar_reader.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {
namespace {

constexpr std::size_t file_block = 256U << 10;
constexpr std::int64_t least_block = 1 << 12;
constexpr std::int64_t most_block = 1 << 20;

struct FreeArchive {
  void operator()(archive* handle) const { archive_read_free(handle); }
};

}  // namespace

struct TarReader::Impl {
  std::filesystem::path path;
  std::unique_ptr<archive, FreeArchive> handle;
  std::string last;       // member
  std::int64_t size = 0;  // of that member, by its header

  // libarchive's "warning" means that the entry is whole; everything else is damage.
  void check(int status, const char* what) const {
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
      const char* text = archive_error_string(handle.get());
      throw DataError(path,
                      std::string(what) + (last.empty() ? "" : " after or in \"" + excerpt(last) + "\"") + ": " +
                          excerpt(text == nullptr ? "unknown" : text, 200),
                      "download or copy it again");
    }
  }
};

TarReader::TarReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw DataError(path, std::filesystem::exists(path, error) ? "is not a regular file" : "does not exist");
  }
  if (std::filesystem::file_size(path, error) == 0) {
    throw DataError(path, "is empty (0 bytes)", "download or copy it again");
  }
  impl_->handle.reset(archive_read_new());
  archive* handle = impl_->handle.get();
  SOUP_REQUIRE(handle != nullptr && archive_read_support_filter_gzip(handle) >= ARCHIVE_WARN &&
                   archive_read_support_format_tar(handle) >= ARCHIVE_WARN,
               "libarchive reads gzip and tar");
  impl_->check(archive_read_open_filename(handle, path.c_str(), file_block), "is not a readable tar archive");
}

TarReader::~TarReader() = default;
TarReader::TarReader(TarReader&&) noexcept = default;
TarReader& TarReader::operator=(TarReader&&) noexcept = default;

std::optional<TarMember> TarReader::next() {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(impl_->handle.get(), &entry);
  if (status == ARCHIVE_EOF) {
    return std::nullopt;
  }
  impl_->check(status, "is damaged");
  const char* name = archive_entry_pathname(entry);
  name = name == nullptr ? archive_entry_pathname_utf8(entry) : name;
  TarMember member{.name = name == nullptr ? "" : name, .is_file = false, .is_folder = false};
  const bool is_link = archive_entry_hardlink(entry) != nullptr || archive_entry_symlink(entry) != nullptr;
  member.is_file = archive_entry_filetype(entry) == AE_IFREG && !is_link;
  member.is_folder = archive_entry_filetype(entry) == AE_IFDIR;
  impl_->last = member.name;
  impl_->size = archive_entry_size(entry);
  return member;
}

std::optional<std::vector<std::byte>> TarReader::read(std::uint64_t most) {
  std::vector<std::byte> content;
  // One byte more than the header says, so that the first read sees the end; but a header may say anything.
  const auto block = static_cast<std::size_t>(std::clamp(impl_->size, least_block, most_block - 1) + 1);
  while (true) {
    const std::size_t used = content.size();
    content.resize(used + block);
    const la_ssize_t got = archive_read_data(impl_->handle.get(), content.data() + used, block);
    impl_->check(static_cast<int>(std::min<la_ssize_t>(got, 0)), "is damaged");
    content.resize(used + static_cast<std::size_t>(std::max<la_ssize_t>(got, 0)));
    if (content.size() > most) {
      return std::nullopt;
    }
    if (got < static_cast<la_ssize_t>(block)) {
      return content;
    }
  }
}

std::uint64_t TarReader::bytes_read() const {
  return static_cast<std::uint64_t>(std::max<la_int64_t>(0, archive_filter_bytes(impl_->handle.get(), -1)));
}

}  // namespace soup
