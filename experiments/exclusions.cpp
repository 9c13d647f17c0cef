// The images of a data shard that the duplicates stage dropped.
#include "experiments/exclusions.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {

void write_exclusions(const std::filesystem::path& file, const std::string& shard,
                      const std::set<std::uint64_t>& images) {
  write_file_atomically(file, nlohmann::ordered_json({{"shard", shard}, {"excluded", images}}).dump(1) + "\n");
}

std::set<std::uint64_t> read_exclusions(const std::filesystem::path& file, const std::string& shard) {
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(file));
    if (json.at("shard") != shard) {
      throw DataError(file, fmt::format("lists images of shard {}, expected {}", json.at("shard").dump(), shard));
    }
    return json.at("excluded").get<std::set<std::uint64_t>>();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(file, fmt::format("not a list of excluded images: {}", error.what()), "remove it and run again");
  }
}

}  // namespace soup
