#include "core/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/process_identity.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t read_block_bytes = std::size_t{1} << 16;

// Processes on several hosts may have one number: in containers they all begin at 1.
std::string process_suffix() {
  return host_name() + "-" + std::to_string(::getpid());
}

std::string partial_suffix() {
  return ".partial-" + process_suffix();
}

// "a/b/" names the folder b, not an empty name inside it.
fs::path without_trailing_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

void sync_path(const fs::path& path, const fs::path& reported_path) {
  FileDescriptor(path, O_RDONLY, reported_path).sync(reported_path);
}

void rename_path(const fs::path& from, const fs::path& to, const fs::path& reported_path) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    const int error = errno;
    throw DataError(reported_path, "cannot rename " + from.string() + " to its final name: " + errno_text(error),
                    errno_hint(error));
  }
}

// Puts the folder `partial` in the place of the folder `final_path`; the older one is at `partial` afterwards.
void exchange_folders(const fs::path& partial, const fs::path& final_path) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0) {
    return;
  }
  if (errno != EINVAL && errno != ENOSYS) {
    const int error = errno;
    throw DataError(final_path, "cannot put the new folder in place: " + errno_text(error), errno_hint(error));
  }
  // File systems without exchange (NFS) have a moment with no folder of that name.
  fs::path older = final_path;
  older += ".older-" + process_suffix();
  rename_path(final_path, older, final_path);
  rename_path(partial, final_path, final_path);
  rename_path(older, partial, final_path);
}

void remove_quietly(const fs::path& path) noexcept {
  std::error_code ignored;  // only destructors come here: they have an error on its way already
  fs::remove_all(path, ignored);
}

[[noreturn]] void rethrow(const fs::path& path, const fs::filesystem_error& error) {
  throw DataError(path, error.what(), errno_hint(error.code().value()));
}

}  // namespace

AtomicFile::AtomicFile(fs::path final_path)
    : final_path_(std::move(final_path)),
      partial_path_(final_path_.native() + partial_suffix()),
      file_(partial_path_, O_WRONLY | O_CREAT | O_TRUNC, final_path_) {}

AtomicFile::~AtomicFile() {
  if (!committed_) {
    remove_quietly(partial_path_);
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  SOUP_REQUIRE(file_.is_open(), "a committed file was written to: " + final_path_.string());
  file_.write_all(bytes, final_path_);
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::commit() {
  SOUP_REQUIRE(file_.is_open(), "a file was committed twice: " + final_path_.string());
  file_.sync(final_path_);
  file_.close(final_path_);
  rename_path(partial_path_, final_path_, final_path_);
  committed_ = true;
  sync_path(folder_of(final_path_), final_path_);
}

AtomicPath::AtomicPath(fs::path final_path)
    : final_path_(std::move(final_path)),
      partial_path_(folder_of(final_path_) /
                    (final_path_.stem().native() + partial_suffix() + final_path_.extension().native())) {}

AtomicPath::~AtomicPath() {
  if (!committed_) {
    remove_quietly(partial_path_);
  }
}

void AtomicPath::commit(Sync sync) {
  SOUP_REQUIRE(!committed_, "a file was committed twice: " + final_path_.string());
  if (sync == Sync::yes) {
    sync_path(partial_path_, final_path_);
  }
  rename_path(partial_path_, final_path_, final_path_);
  committed_ = true;
  if (sync == Sync::yes) {
    sync_path(folder_of(final_path_), final_path_);
  }
}

void commit_file(const fs::path& partial, const fs::path& final_path) {
  sync_path(partial, final_path);
  rename_path(partial, final_path, final_path);
  sync_path(folder_of(final_path), final_path);
}

AtomicFolder::AtomicFolder(const fs::path& final_path)
    : final_path_(without_trailing_slash(final_path)), partial_path_(final_path_.native() + partial_suffix()) {
  try {
    fs::remove_all(partial_path_);  // left by a killed process that had the same id
    fs::create_directories(partial_path_);
  } catch (const fs::filesystem_error& error) {
    rethrow(final_path_, error);
  }
}

AtomicFolder::~AtomicFolder() {
  if (!committed_) {
    remove_quietly(partial_path_);
  }
}

void AtomicFolder::commit(Sync sync) {
  SOUP_REQUIRE(!committed_, "a folder was committed twice: " + final_path_.string());
  try {
    if (sync == Sync::yes) {
      for (const fs::directory_entry& entry : fs::recursive_directory_iterator(partial_path_)) {
        if (!entry.is_symlink() && (entry.is_regular_file() || entry.is_directory())) {
          sync_path(entry.path(), final_path_);
        }
      }
      sync_path(partial_path_, final_path_);
    }
    if (fs::exists(fs::symlink_status(final_path_))) {
      exchange_folders(partial_path_, final_path_);
      committed_ = true;
      fs::remove_all(partial_path_);
    } else {
      rename_path(partial_path_, final_path_, final_path_);
      committed_ = true;
    }
    if (sync == Sync::yes) {
      sync_path(folder_of(final_path_), final_path_);
    }
  } catch (const fs::filesystem_error& error) {
    rethrow(final_path_, error);
  }
}

void remove_partials(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  constexpr std::string_view mark = ".partial-";
  try {
    std::vector<fs::path> found;
    const std::string beside = folder.filename().string() + std::string(mark);
    if (fs::is_directory(folder.parent_path())) {
      for (const fs::directory_entry& entry : fs::directory_iterator(folder.parent_path())) {
        if (entry.path().filename().string().starts_with(beside)) {
          found.push_back(entry.path());
        }
      }
    }
    if (fs::is_directory(folder)) {
      for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.path().filename().string().find(mark) != std::string::npos) {
          found.push_back(entry.path());
        }
      }
    }
    for (const fs::path& path : found) {
      fs::remove_all(path);
    }
  } catch (const fs::filesystem_error& error) {
    throw DataError(folder, std::string("cannot be cleared of half-written files: ") + error.code().message());
  }
}

void remove_partials_of_the_dead(const std::filesystem::path& folder) {
  const std::string mark = ".partial-" + host_name() + "-";
  try {
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const std::size_t at = name.find(mark);
      int process = 0;
      if (at != std::string::npos && std::sscanf(name.c_str() + at + mark.size(), "%d", &process) == 1 && process > 0 &&
          ::kill(process, 0) != 0 && errno == ESRCH) {
        found.push_back(entry.path());
      }
    }
    for (const fs::path& path : found) {
      fs::remove_all(path);
    }
  } catch (const fs::filesystem_error& error) {
    throw DataError(folder, std::string("cannot be cleared of half-written files: ") + error.code().message());
  }
}

void require_place_for(const fs::path& file) {
  std::error_code error;
  if (fs::is_directory(file, error)) {
    throw DataError(file, "is a folder, where a file is to be written", "give the name of a file");
  }
  if (const fs::path folder = folder_of(file); !fs::is_directory(folder, error)) {
    throw DataError(file, "cannot be written: there is no folder " + folder.string(),
                    "check the path; every folder on it must exist");
  }
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const fs::path& path, std::uintmax_t max_bytes) {
  const FileDescriptor file(path, O_RDONLY);
  const std::uint64_t size = file.size(path);
  const auto refuse = [&](std::uint64_t bytes) {
    throw DataError(
        path, "holds " + std::to_string(bytes) + " bytes or more; at most " + std::to_string(max_bytes) + " are read");
  };
  if (size > max_bytes) {
    refuse(size);
  }
  // The size is only a first guess: files in /proc say 0, and a file may grow while it is read.
  std::string text;
  std::size_t used = 0;
  while (true) {
    text.resize(std::max<std::size_t>(size + 1, used + read_block_bytes));
    const std::size_t count = file.read_some(std::as_writable_bytes(std::span(text)).subspan(used), path);
    if (count == 0) {
      break;
    }
    used += count;
    if (used > max_bytes) {
      refuse(used);
    }
  }
  text.resize(used);
  return text;
}

}  // namespace soup
