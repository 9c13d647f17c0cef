#include "data/shard_spool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

constexpr int state_version = 1;
constexpr std::size_t records_at_once = 64U << 10;  // bytes

// Opened to its first `bytes` bytes; false when it is shorter.
bool open_to(FileDescriptor& file, const fs::path& path, std::uint64_t bytes, const fs::path& reported) {
  std::error_code error;
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) < bytes || error) {
    return false;
  }
  file = FileDescriptor(path, O_RDWR | O_APPEND, reported);
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    throw DataError(reported, "cannot go back to what was saved of it: " + errno_text(errno));
  }
  return true;
}

}  // namespace

ShardSpool::ShardSpool(fs::path output, std::optional<Digest> identity)
    : output_(std::move(output)), folder_(output_.native() + ".partial"), identity_(identity) {
  std::error_code error;
  const bool found = fs::is_directory(folder_, error);
  fs::create_directory(folder_, error);
  if (error) {
    throw DataError(output_, "cannot make the folder " + folder_.filename().string() + " beside it: " + error.message(),
                    errno_hint(error.value()));
  }
  lock();
  if (found) {
    start_ = identity_ && resume() ? Start::resumed : Start::other;
  }
  if (start_ == Start::other) {
    clear();
  }
}

ShardSpool::~ShardSpool() {
  if (!removed_ && !identity_) {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
}

void ShardSpool::lock() {
  lock_ = FileDescriptor(folder_ / "lock", O_RDWR | O_CREAT, output_);
  // Some file systems have no locks; only a lock that another process holds counts.
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw DataError(output_, "another import is writing it", "wait for it, or give another --output");
  }
}

bool ShardSpool::resume() {
  const fs::path file = folder_ / "state.json";
  std::error_code error;
  if (!fs::exists(file, error)) {
    return false;
  }
  try {
    const nlohmann::json state = nlohmann::json::parse(read_file(file));
    if (state.at("version") != state_version || state.at("identity") != identity_->hex()) {
      return false;
    }
    for (const nlohmann::json& entry : state.at("parts")) {
      const ImageSize size{entry.at("height").get<int>(), entry.at("width").get<int>()};
      Part part;
      part.images = entry.at("images").get<std::uint64_t>();
      part.record_bytes = entry.at("record_bytes").get<std::uint64_t>();
      if (!open_to(part.pixels, file_of(size, "pixels"), entry.at("pixel_bytes").get<std::uint64_t>(), output_) ||
          !open_to(part.records, file_of(size, "records"), part.record_bytes, output_)) {
        parts_.clear();
        return false;
      }
      parts_.emplace(size, std::move(part));
    }
    progress_ = state.at("progress");
  } catch (const nlohmann::json::exception&) {
    parts_.clear();
    return false;
  }
  // Sizes that were first met after the state was saved.
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    const auto known = [&](const auto& part) {
      return entry.path() == file_of(part.first, "pixels") || entry.path() == file_of(part.first, "records");
    };
    if ((name.ends_with(".pixels") || name.ends_with(".records")) && std::ranges::none_of(parts_, known)) {
      fs::remove(entry.path(), error);
    }
  }
  return true;
}

void ShardSpool::clear() {
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename() != "lock") {
      fs::remove_all(entry->path(), error);
    }
  }
  if (error) {
    throw DataError(output_, "cannot clear " + folder_.string() + ": " + error.message());
  }
}

fs::path ShardSpool::file_of(ImageSize size, const char* what) const {
  return folder_ / fmt::format("{}x{}.{}", size.height, size.width, what);
}

ShardSpool::Part& ShardSpool::part_of(ImageSize size) {
  const auto found = parts_.find(size);
  if (found != parts_.end()) {
    return found->second;
  }
  Part part;
  constexpr int flags = O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  part.pixels = FileDescriptor(file_of(size, "pixels"), flags, output_);
  part.records = FileDescriptor(file_of(size, "records"), flags, output_);
  return parts_.emplace(size, std::move(part)).first->second;
}

void ShardSpool::append(ImageSize size, std::span<const std::uint8_t> pixels, const ShardRecord& record) {
  Part& part = part_of(size);
  part.pixels.write_all(std::as_bytes(pixels), output_);
  const std::size_t before = part.waiting.size();
  append_record(part.waiting, record);
  part.record_bytes += part.waiting.size() - before;
  ++part.images;
  if (part.waiting.size() >= records_at_once) {
    flush(part);
  }
}

void ShardSpool::flush(Part& part) const {
  part.records.write_all(part.waiting, output_);
  part.waiting.clear();
}

void ShardSpool::save(const nlohmann::json& progress) {
  SOUP_REQUIRE(identity_.has_value(), "only an import that can be resumed is saved");
  nlohmann::json state = {{"version", state_version},
                          {"identity", identity_->hex()},
                          {"parts", nlohmann::json::array()},
                          {"progress", progress}};
  for (auto& [size, part] : parts_) {
    flush(part);
    part.pixels.sync(output_);
    part.records.sync(output_);
    state["parts"].push_back({{"height", size.height},
                              {"width", size.width},
                              {"images", part.images},
                              {"record_bytes", part.record_bytes},
                              {"pixel_bytes", part.pixels.size(output_)}});
  }
  write_file_atomically(folder_ / "state.json", state.dump());
}

const std::map<ImageSize, ShardSpool::Part>& ShardSpool::parts() {
  for (auto& [size, part] : parts_) {
    flush(part);
  }
  return parts_;
}

std::uint64_t ShardSpool::images() const {
  std::uint64_t images = 0;
  for (const auto& [size, part] : parts_) {
    images += part.images;
  }
  return images;
}

void ShardSpool::remove() {
  parts_.clear();
  std::error_code error;
  fs::remove_all(folder_, error);
  if (error) {
    throw DataError(output_, "cannot remove " + folder_.string() + ": " + error.message());
  }
  removed_ = true;
}

}  // namespace soup
