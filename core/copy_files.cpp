#include "core/copy_files.hpp"

#include <system_error>

#include "core/error.hpp"

namespace soup {

namespace fs = std::filesystem;

void copy_files(const fs::path& from, const fs::path& to, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    std::error_code error;
    fs::create_directories((to / file).parent_path(), error);
    if (!error) {
      fs::copy_file(from / file, to / file, fs::copy_options::overwrite_existing, error);
    }
    if (error) {
      throw DataError(to / file, "cannot copy it from " + (from / file).string() + ": " + error.message());
    }
  }
}

}  // namespace soup
