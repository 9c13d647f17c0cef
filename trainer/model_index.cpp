// model_index.json: which parts a model folder in diffusers' layout has.
#include "trainer/model_index.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "trainer/config_reader.hpp"

namespace soup {
namespace {

using nlohmann::json;

// The parts that soup has a class for, and those that a pipeline can do without.
struct KnownPart {
  const char* name;
  std::vector<std::string> classes;
};
const std::vector<KnownPart>& needed_parts() {
  static const std::vector<KnownPart> parts = {{"unet", {"UNet2DConditionModel"}},
                                               {"text_encoder", {"CLIPTextModel"}},
                                               {"tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"}}};
  return parts;
}
constexpr const char* dispensable_parts[] = {"safety_checker", "feature_extractor", "image_encoder"};

bool is_absent(const json& entry) {
  return entry.is_null() || (entry.is_array() && std::ranges::all_of(entry, [](const json& e) { return e.is_null(); }));
}

// The class that the index names for a part; throws for an entry that is not ["library", "Class"].
std::string class_of(const std::filesystem::path& file, const std::string& part, const json& entry) {
  if (!entry.is_array() || entry.size() != 2 || !entry[1].is_string()) {
    throw DataError(file, fmt::format("{} = {}, must be [library, class]", part, entry.dump()));
  }
  return entry[1].get<std::string>();
}

void require_class(const std::filesystem::path& file, const json& index, const KnownPart& part) {
  const json entry = index.value(part.name, json());
  if (is_absent(entry)) {
    throw DataError(file, fmt::format("names no {}", part.name));
  }
  const std::string found = class_of(file, part.name, entry);
  if (std::ranges::find(part.classes, found) == part.classes.end()) {
    throw DataError(file, fmt::format("names {} as {}, but only {} is implemented", found, part.name, part.classes[0]));
  }
}

}  // namespace

ModelIndex read_model_index(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "model_index.json";
  if (!std::filesystem::exists(file)) {
    throw DataError(file, "does not exist, so its folder is not a model",
                    "give the folder that holds unet/ and text_encoder/");
  }
  const json index = read_config_file(file);
  if (!index.is_object()) {
    throw DataError(file, "is not a JSON object");
  }
  for (const KnownPart& part : needed_parts()) {
    require_class(file, index, part);
  }
  ModelIndex result;
  for (const auto& [part, entry] : index.items()) {
    // Besides parts there are flags (requires_safety_checker) and the writer's own keys.
    if (!entry.is_array() || is_absent(entry) || part == "scheduler" ||
        std::ranges::any_of(needed_parts(), [&part](const KnownPart& known) { return known.name == part; })) {
      continue;
    }
    const std::string found = class_of(file, part, entry);
    if (part == "vae" && found == "AutoencoderKL") {
      result.has_vae = true;
    } else if (std::ranges::find(dispensable_parts, part) != std::end(dispensable_parts)) {
      result.left_out.push_back(fmt::format("{} ({})", part, found));
    } else {
      throw DataError(file, fmt::format("names {} as {}, which is not implemented", found, part));
    }
  }
  return result;
}

json model_index_json(bool has_vae) {
  const json absent = {nullptr, nullptr};
  return {{"_class_name", "StableDiffusionPipeline"},
          {"_diffusers_version", diffusers_release},
          {"feature_extractor", absent},
          {"image_encoder", absent},
          {"requires_safety_checker", false},
          {"safety_checker", absent},
          {"scheduler", {"diffusers", "DDIMScheduler"}},
          {"text_encoder", {"transformers", "CLIPTextModel"}},
          {"tokenizer", {"transformers", "CLIPTokenizer"}},
          {"unet", {"diffusers", "UNet2DConditionModel"}},
          {"vae", has_vae ? json({"diffusers", "AutoencoderKL"}) : absent}};
}

}  // namespace soup
