// Files of one folder copied into another.
#pragma once

#include <filesystem>
#include <vector>

namespace soup {

// Copies files (paths relative to `from`) to the same places below `to`, over what is there, making folders as needed.
// Throws DataError naming the copy.
void copy_files(const std::filesystem::path& from, const std::filesystem::path& to,
                const std::vector<std::filesystem::path>& files);

}  // namespace soup
