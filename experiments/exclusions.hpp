// The images of a data shard that the duplicates stage dropped: the file that says which no trainer may see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>

namespace soup {

void write_exclusions(const std::filesystem::path& file, const std::string& shard,
                      const std::set<std::uint64_t>& images);
// Throws DataError: missing, damaged, of another shard.
std::set<std::uint64_t> read_exclusions(const std::filesystem::path& file, const std::string& shard);

}  // namespace soup
