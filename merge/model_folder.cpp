// A diffusers-style model folder as files: its parts with safetensors, and all else that travels with them. Torch-free.
#include "merge/model_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "core/error.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// Names of the components that model_index.json gives a class. diffusers writes [null, null] for one left out.
std::vector<std::string> components_of(const fs::path& folder) {
  const fs::path path = folder / "model_index.json";
  if (!fs::exists(path)) {
    throw DataError(folder, "holds no model_index.json",
                    "a model is a folder in diffusers' layout, or a .safetensors file");
  }
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

void add_component(const std::string& name, ModelFolder& model) {
  ModelPart part{name, {}};
  std::vector<fs::path> pickles;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(model.path / name)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    const fs::path relative = entry.path().lexically_relative(model.path);
    if (relative.extension() == ".safetensors") {
      part.files.push_back(relative);
    } else if (is_pickle(relative)) {
      pickles.push_back(relative);
    } else {
      model.others.push_back(relative);
    }
  }
  if (part.files.empty() && !pickles.empty()) {
    throw DataError(model.path / pickles.front(), fmt::format("{} has its weights only as a pickle file", name),
                    "soup never opens pickles, which can run code: convert it to safetensors");
  }
  if (!part.files.empty()) {
    std::ranges::sort(part.files);
    model.parts.push_back(std::move(part));
  }
}

}  // namespace

const ModelPart* ModelFolder::find(const std::string& part) const {
  const auto found = std::ranges::find(parts, part, &ModelPart::name);
  return found == parts.end() ? nullptr : &*found;
}

ModelFolder read_model_folder(const fs::path& path) {
  ModelFolder model;
  model.path = path;
  try {
    if (!fs::is_directory(path)) {
      throw DataError(path, fs::exists(path) ? "is not a folder" : "does not exist");
    }
    for (const std::string& name : components_of(path)) {
      if (!fs::is_directory(path / name)) {
        throw DataError(path,
                        fmt::format("model_index.json names the component {}, but there is no such folder", name));
      }
      add_component(name, model);
      if (fs::is_directory(path / (name + "_ema"))) {
        add_component(name + "_ema", model);
      }
    }
  } catch (const fs::filesystem_error& error) {
    throw DataError(path, error.what());
  }
  if (model.parts.empty()) {
    throw DataError(path, "none of its components holds a .safetensors file");
  }
  // soup's own component, which diffusers' index cannot name.
  if (fs::is_directory(path / "autoencoder")) {
    add_component("autoencoder", model);
  }
  model.others.emplace_back("model_index.json");
  std::ranges::sort(model.others);
  std::ranges::sort(model.parts, {}, &ModelPart::name);
  return model;
}

std::vector<SafetensorsFile> open_part(const ModelFolder& model, const ModelPart& part) {
  std::vector<SafetensorsFile> files;
  for (const fs::path& file : part.files) {
    files.emplace_back(model.path / file);
  }
  return files;
}

Digest part_digest(const ModelFolder& model, const ModelPart& part) {
  return weights_digest(open_part(model, part));
}

void copy_files(const fs::path& from, const fs::path& to, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    std::error_code error;
    fs::create_directories((to / file).parent_path(), error);
    if (!error) {
      fs::copy_file(from / file, to / file, fs::copy_options::overwrite_existing, error);
    }
    if (error) {
      throw DataError(to / file, fmt::format("cannot copy it from {}: {}", (from / file).string(), error.message()));
    }
  }
}

}  // namespace soup
