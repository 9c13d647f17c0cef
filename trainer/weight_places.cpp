// Which safetensors files hold the weights of one part of a model.
#include "trainer/weight_places.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/error.hpp"
#include "core/weights_index.hpp"
#include "trainer/config_reader.hpp"

namespace soup {
namespace {

using std::filesystem::path;

std::vector<path> files_of_index(const path& index) {
  std::set<path> files;
  for (const auto& [tensor, file] : weight_map(read_config_file(index), index)) {
    files.insert(index.parent_path() / file);
  }
  for (const path& file : files) {
    if (!std::filesystem::exists(file)) {
      throw DataError(file, fmt::format("does not exist, but {} names it", index.filename().string()));
    }
  }
  return {files.begin(), files.end()};
}

[[noreturn]] void refuse_missing(const path& file) {
  if (!std::filesystem::is_directory(file.parent_path())) {
    throw DataError(file, "does not exist, nor does its folder");
  }
  for (const auto& entry : std::filesystem::directory_iterator(file.parent_path())) {
    if (entry.path().extension() == ".bin") {
      throw DataError(file,
                      fmt::format("does not exist; {} beside it is a pickle, which is never opened",
                                  entry.path().filename().string()),
                      "convert it to safetensors with diffusers or transformers: save_pretrained()");
    }
  }
  throw DataError(file, "does not exist");
}

}  // namespace

std::vector<path> find_weights(const path& folder, const std::string& stem) {
  for (const char* variant : {"", ".fp16"}) {
    const path single = folder / (stem + variant + ".safetensors");
    const path index = folder / (stem + ".safetensors.index" + variant + ".json");
    const bool has_index = std::filesystem::exists(index);
    if (std::filesystem::exists(single)) {
      if (has_index) {
        throw DataError(single, fmt::format("and {} beside it both are the weights", index.filename().string()),
                        "take away the one that is not meant");
      }
      return {single};
    }
    if (has_index) {
      return files_of_index(index);
    }
  }
  refuse_missing(folder / (stem + ".safetensors"));
}

}  // namespace soup
