// A folder for what is not kept, removed at the end.
#pragma once

#include <filesystem>
#include <string_view>

namespace soup {

class ScratchFolder {
 public:
  // parent/<name>-XXXXXX. Throws DataError.
  explicit ScratchFolder(std::string_view name, const std::filesystem::path& parent = {});  // "": the system's
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace soup
