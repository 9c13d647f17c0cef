// The names in a *.safetensors.index.json.
#include "core/weights_index.hpp"

#include <fmt/format.h>

#include <climits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

std::map<std::string, std::string> weight_map(const nlohmann::json& value, const std::filesystem::path& index) {
  const auto map = value.is_object() ? value.find("weight_map") : value.end();
  if (map == value.end() || !map->is_object() || map->empty()) {
    throw DataError(index, "has no \"weight_map\" of tensors to files",
                    "an index is what transformers and diffusers write beside weights in several files");
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) {
      throw DataError(index, fmt::format("weight_map gives tensor {} no file name", excerpt(tensor)));
    }
    const auto& name = file.get_ref<const std::string&>();
    if (name.empty() || name.find('/') != std::string::npos || name.starts_with(".") ||
        name.find('\0') != std::string::npos || name.size() > NAME_MAX) {
      throw DataError(index,
                      fmt::format("weight_map names \"{}\", which is no plain file name in its folder", excerpt(name)),
                      "an index may only name files that lie beside it");
    }
    files.emplace(tensor, name);
  }
  return files;
}

}  // namespace soup
