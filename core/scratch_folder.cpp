// A folder for what is not kept, removed at the end.
#include "core/scratch_folder.hpp"

#include <stdlib.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {

ScratchFolder::ScratchFolder(std::string_view name, const std::filesystem::path& parent) {
  const std::filesystem::path folder = parent.empty() ? std::filesystem::temp_directory_path() : parent;
  std::string pattern = (folder / (std::string(name) + "-XXXXXX")).string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw DataError(pattern, "cannot make a temporary folder: " + errno_text(errno),
                    parent.empty() ? "set TMPDIR to a folder with room" : errno_hint(errno));
  }
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace soup
