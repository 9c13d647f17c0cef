// The rows of metadata.jsonl and metadata.csv as Hugging Face's imagefolder has them: which file, which caption.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace soup {

// What a row says of its image. A key that is absent, null or (CSV) empty says nothing.
struct MetadataRow {
  std::uint64_t offset = 0;  // where the row begins, in bytes
  std::uint64_t line = 0;    // from 1
  std::string file_name;
  std::optional<std::string> caption;
  std::optional<std::string> key;
  std::string problem;  // why the row cannot be used; empty for a good one
};

// One metadata file, read row after row in constant memory, and any row again by where it begins. A row that is damaged
// by itself has a problem; a file whose rows cannot be told apart (a quote left open) is a DataError.
class MetadataFile {
 public:
  // The format is chosen by the name's end: .jsonl or .csv. `held_out_key` may be empty. Throws DataError: not
  // readable, a CSV file without the columns file_name and, if it is not empty, held_out_key.
  MetadataFile(std::filesystem::path path, std::string caption_key, std::string held_out_key);
  ~MetadataFile();
  MetadataFile(MetadataFile&&) noexcept;
  MetadataFile& operator=(MetadataFile&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  void each_row(const std::function<void(const MetadataRow&)>& visit) const;
  // The row that begins at `offset`, as each_row() gave it; its line is not known then.
  [[nodiscard]] MetadataRow row_at(std::uint64_t offset) const;
  // The line that byte `offset` is in.
  [[nodiscard]] std::uint64_t line_of(std::uint64_t offset) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soup
