// A half-made shard in a folder beside its output: pixels and records by image size, and how far its import has come.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

#include "core/digest.hpp"
#include "core/file_descriptor.hpp"
#include "data/image_size.hpp"
#include "data/shard_record.hpp"

namespace soup {

// The folder is `<output>.partial`. With an identity (the digest of the source and of every option that decides the
// result) it outlives the process, and whoever opens it with the same one goes on where it was last saved; without one
// it goes with this object. Members throw DataError naming the output.
class ShardSpool {
 public:
  enum class Start {
    fresh,    // nothing was there
    resumed,  // goes on from progress()
    other     // what was there came from another source or other options, or was damaged, and is gone
  };
  ShardSpool(std::filesystem::path output, std::optional<Digest> identity);
  ~ShardSpool();
  ShardSpool(const ShardSpool&) = delete;
  ShardSpool& operator=(const ShardSpool&) = delete;

  [[nodiscard]] Start start() const { return start_; }
  // What was given to the last save(); null in a fresh one.
  [[nodiscard]] const nlohmann::json& progress() const { return progress_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

  // Images of one size and their records, in the order in which they came.
  struct Part {
    FileDescriptor pixels;
    FileDescriptor records;
    std::uint64_t images = 0;
    std::uint64_t record_bytes = 0;
    std::vector<std::byte> waiting;  // records not yet written
  };
  void append(ImageSize size, std::span<const std::uint8_t> pixels, const ShardRecord& record);
  // Everything so far reaches the disk, then the state that says so.
  void save(const nlohmann::json& progress);
  // By size. Everything is written out.
  const std::map<ImageSize, Part>& parts();
  [[nodiscard]] std::uint64_t images() const;
  // Ends it, with the folder.
  void remove();

 private:
  void lock();
  bool resume();
  void clear();
  Part& part_of(ImageSize size);
  void flush(Part& part) const;
  [[nodiscard]] std::filesystem::path file_of(ImageSize size, const char* what) const;

  std::filesystem::path output_;
  std::filesystem::path folder_;
  std::optional<Digest> identity_;
  FileDescriptor lock_;
  Start start_ = Start::fresh;
  nlohmann::json progress_;
  std::map<ImageSize, Part> parts_;
  bool removed_ = false;
};

}  // namespace soup
