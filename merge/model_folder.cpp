// A model as files: its parts with their weights, and all else that travels with them. Torch-free.
#include "merge/model_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <system_error>

#include "core/error.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view weights_ending = ".safetensors";
constexpr std::string_view average_suffix = "_ema";
constexpr std::string_view index_ending = ".safetensors.index.json";

// Names of the components that model_index.json gives a class. diffusers writes [null, null] for one left out.
std::vector<std::string> components_of(const fs::path& folder) {
  const fs::path path = folder / "model_index.json";
  const nlohmann::json index = read_json(path);
  if (!index.is_object()) {
    throw DataError(path, "is not a JSON object");
  }
  std::vector<std::string> names;
  for (const auto& [key, value] : index.items()) {
    if (!key.starts_with("_") && value.is_array() && !value.empty() && !value.front().is_null()) {
      if (key.find('/') != std::string::npos || key.starts_with(".")) {
        throw DataError(path, fmt::format("component \"{}\" is not a plain folder name", key));
      }
      names.push_back(key);
    }
  }
  return names;
}

bool is_pickle(const fs::path& path) {
  const fs::path extension = path.extension();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt" ||
         extension == ".pkl";
}

// diffusers names variants x.fp16.safetensors, x.fp16-00001-of-00002.safetensors and x.safetensors.index.fp16.json.
// Returns the variant of such a name, "" for none.
std::string variant_of(const std::string& name) {
  const std::size_t index = name.find(".safetensors.index.");
  if (index != std::string::npos) {
    const std::string rest = name.substr(index + 19);  // "json" or "fp16.json"
    return rest.ends_with(".json") ? rest.substr(0, rest.size() - 5) : "";
  }
  std::string stem = name.substr(0, name.size() - weights_ending.size());
  const std::size_t of = stem.rfind("-of-");
  if (of != std::string::npos && of >= 6) {
    stem.resize(of - 6);
  }
  const std::size_t dot = stem.find('.');
  return dot == std::string::npos ? "" : stem.substr(dot + 1);
}

// The weights among a component's files: those of the wanted variant, or of the plain ones where there is no such.
struct Candidates {
  std::map<std::string, ModelPart> by_variant;

  void add(const fs::path& relative, const std::string& part) {
    const std::string name = relative.filename().string();
    ModelPart& variant = by_variant[variant_of(name)];
    variant.name = part;
    if (name.ends_with(weights_ending)) {
      variant.files.push_back(relative);
    } else {
      variant.index = relative;
    }
  }

  // nullptr when there are no weights at all.
  ModelPart* choose(const std::string& wanted) {
    for (const std::string& variant : {wanted, std::string()}) {
      const auto found = by_variant.find(variant);
      if (found != by_variant.end() && !found->second.files.empty()) {
        return &found->second;
      }
    }
    return by_variant.size() == 1 && !by_variant.begin()->second.files.empty() ? &by_variant.begin()->second : nullptr;
  }
};

bool is_weights_or_index(const std::string& name) {
  return name.ends_with(weights_ending) ||
         (name.find(".safetensors.index.") != std::string::npos && name.ends_with(".json"));
}

// Only what the index names is the component's; files beside it may be left over from another save.
void heed_index(const fs::path& folder, ModelPart& part) {
  if (part.index.empty()) {
    return;
  }
  const Weights weights = Weights::open(folder / part.index);
  part.files.clear();
  for (const fs::path& file : weights.files()) {
    part.files.push_back(file.lexically_relative(folder));
  }
}

void add_part(Candidates& candidates, const std::vector<fs::path>& pickles, const std::string& name,
              const std::string& variant, ModelFolder& model) {
  ModelPart* chosen = candidates.choose(variant);
  if (chosen == nullptr) {
    if (candidates.by_variant.size() > 1) {
      throw DataError(model.path / name,
                      fmt::format("its weights have {} variants, none without a name", candidates.by_variant.size()),
                      "--variant chooses one, as --variant fp16");
    }
    if (!pickles.empty()) {
      throw DataError(model.path / pickles.front(), fmt::format("{} has its weights only as a pickle file", name),
                      "soup never opens pickles, which can run code: convert it to safetensors");
    }
    return;
  }
  heed_index(model.path, *chosen);
  std::ranges::sort(chosen->files);
  model.parts.push_back(std::move(*chosen));
}

void add_component(const std::string& name, const std::string& variant, ModelFolder& model) {
  Candidates candidates;
  std::vector<fs::path> pickles;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(model.path / name)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    const fs::path relative = entry.path().lexically_relative(model.path);
    if (is_weights_or_index(relative.filename().string())) {
      candidates.add(relative, name);
    } else if (is_pickle(relative)) {
      pickles.push_back(relative);
    } else {
      model.others.push_back(relative);
    }
  }
  add_part(candidates, pickles, name, variant, model);
}

void open_diffusers_folder(const std::string& variant, ModelFolder& model) {
  for (const std::string& name : components_of(model.path)) {
    if (!fs::is_directory(model.path / name)) {
      throw DataError(model.path,
                      fmt::format("model_index.json names the component {}, but there is no such folder", name));
    }
    add_component(name, variant, model);
    if (const std::string average = name + std::string(average_suffix); fs::is_directory(model.path / average)) {
      add_component(average, variant, model);
    }
  }
  if (model.parts.empty()) {
    throw DataError(model.path, "none of its components holds a .safetensors file");
  }
  // soup's own component, which diffusers' index cannot name.
  if (fs::is_directory(model.path / "autoencoder")) {
    add_component("autoencoder", variant, model);
  }
  model.others.emplace_back("model_index.json");
}

// What transformers and diffusers put beside weights and need for loading them; all else in such a folder (README,
// logs, optimizer state) is no part of the model.
bool belongs_to_weights(const std::string& name) {
  static constexpr auto names = std::to_array<std::string_view>(
      {"config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
       "special_tokens_map.json", "added_tokens.json", "merges.txt", "vocab.json", "vocab.txt", "spiece.model",
       "sentencepiece.bpe.model", "chat_template.jinja", "chat_template.json"});
  return std::ranges::find(names, name) != names.end() || name.starts_with("tokenizer");
}

void open_weights_folder(const std::string& variant, ModelFolder& model) {
  Candidates candidates;
  std::vector<fs::path> pickles;
  for (const fs::directory_entry& entry : fs::directory_iterator(model.path)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    const fs::path name = entry.path().filename();
    if (is_weights_or_index(name.string())) {
      candidates.add(name, only_part);
    } else if (is_pickle(name)) {
      pickles.push_back(name);
    } else if (belongs_to_weights(name.string())) {
      model.others.push_back(name);
    }
  }
  add_part(candidates, pickles, only_part, variant, model);
  if (model.parts.empty()) {
    throw DataError(model.path, "holds neither model_index.json nor a .safetensors file",
                    "a model is a folder in diffusers' layout, a folder with weights and config.json, or a weights "
                    "file");
  }
}

}  // namespace

const ModelPart* ModelFolder::find(const std::string& part) const {
  const auto found = std::ranges::find(parts, part, &ModelPart::name);
  return found == parts.end() ? nullptr : &*found;
}

fs::path ModelFolder::place_of(const fs::path& other) const {
  const auto found = stand_ins.find(other.begin()->string());
  return found == stand_ins.end() ? other : found->second / other.lexically_relative(found->first);
}

void lend_averages(const ModelFolder& like, ModelFolder& base) {
  for (const ModelPart& part : like.parts) {
    if (base.find(part.name) != nullptr || !part.name.ends_with(average_suffix)) {
      continue;
    }
    const std::string plain = part.name.substr(0, part.name.size() - average_suffix.size());
    const ModelPart* lender = base.find(plain);
    if (lender == nullptr) {
      continue;
    }
    base.stand_ins.emplace(part.name, plain);
    for (const fs::path& other : like.others) {
      const bool is_lent = *other.begin() == part.name && std::ranges::binary_search(base.others, base.place_of(other));
      if (is_lent) {
        base.others.insert(std::ranges::upper_bound(base.others, other), other);
      }
    }
    ModelPart lent{part.name, lender->files, lender->index};
    base.parts.insert(std::ranges::upper_bound(base.parts, part.name, {}, &ModelPart::name), std::move(lent));
  }
}

ModelFolder open_model(const fs::path& path, const std::string& variant) {
  ModelFolder model;
  model.source = path;
  try {
    if (fs::is_directory(path)) {
      model.path = path;
      if (fs::exists(path / "model_index.json")) {
        open_diffusers_folder(variant, model);
      } else {
        open_weights_folder(variant, model);
      }
    } else if (fs::exists(path)) {
      model.path = path.has_parent_path() ? path.parent_path() : fs::path(".");
      ModelPart part{only_part, {path.filename()}, {}};
      if (path.filename().string().ends_with(index_ending)) {
        part.index = path.filename();
        heed_index(model.path, part);
      }
      model.parts.push_back(std::move(part));
    } else {
      throw DataError(path, "does not exist");
    }
  } catch (const fs::filesystem_error& error) {
    throw DataError(path, error.what());
  }
  std::ranges::sort(model.others);
  std::ranges::sort(model.parts, {}, &ModelPart::name);
  return model;
}

fs::path without_variant(const fs::path& file) {
  std::string name = file.filename().string();
  const std::string variant = variant_of(name);
  if (!variant.empty()) {
    name.erase(name.find("." + variant), variant.size() + 1);
  }
  return file.parent_path() / name;
}

std::string stem_of(const fs::path& weights_file) {
  const std::string stem = weights_file.stem().string();
  const std::size_t of = stem.rfind("-of-");
  return of == std::string::npos || of < 6 ? stem : stem.substr(0, of - 6);
}

Weights open_part(const ModelFolder& model, const ModelPart& part) {
  if (!part.index.empty()) {
    return Weights::open(model.path / part.index);
  }
  if (part.files.size() == 1) {
    return Weights::open(model.path / part.files.front());
  }
  return open_part_below(model.path, part.name, part.files);
}

Weights open_part_below(const fs::path& folder, const std::string& part, const std::vector<fs::path>& files) {
  std::vector<fs::path> below;
  for (const fs::path& file : files) {
    below.push_back(folder / file);
  }
  return Weights::open(folder / part, below);
}

Digest part_digest(const ModelFolder& model, const ModelPart& part) {
  return weights_digest(open_part(model, part));
}

}  // namespace soup
