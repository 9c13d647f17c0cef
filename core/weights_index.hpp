// The *.safetensors.index.json that transformers and diffusers write beside weights in several files.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace soup {

// Tensor -> name of the file beside the index that holds it. Only the names are looked at: total_size is often wrong in
// published indexes. `index` is where `value` was read, for messages. Throws DataError for what is no index, and for
// names that leave its folder.
std::map<std::string, std::string> weight_map(const nlohmann::json& value, const std::filesystem::path& index);

}  // namespace soup
