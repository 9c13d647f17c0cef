// A model as files: its parts with their weights, and all else that travels with them. Torch-free.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "merge/weights.hpp"

namespace soup {

// A component with weights ("unet", "unet_ema", "text_encoder", "vae", ...; "model" where a model is one part).
struct ModelPart {
  std::string name;
  std::vector<std::filesystem::path> files;  // of weights, relative to the model folder, sorted
  std::filesystem::path index;               // *.safetensors.index.json that names `files`; empty without one
};

struct ModelFolder {
  std::filesystem::path source;               // as it was named: a folder or a weights file
  std::filesystem::path path;                 // the folder that everything below is relative to
  std::vector<ModelPart> parts;               // sorted by name
  std::vector<std::filesystem::path> others;  // model_index.json, configurations, tokenizer, ...; relative, sorted

  std::map<std::string, std::string> stand_ins;  // component -> that which stands in for it (see lend_averages)

  // nullptr when absent.
  [[nodiscard]] const ModelPart* find(const std::string& part) const;
  // Where one of `others` is, relative to `path`: elsewhere only in a component that another stands in for.
  [[nodiscard]] std::filesystem::path place_of(const std::filesystem::path& other) const;
  [[nodiscard]] bool is_folder() const { return source == path; }
};

// The name of the one part of a model that is a weights file, or a folder without model_index.json.
inline constexpr const char* only_part = "model";

// Opens what people have as a model:
// - a folder in diffusers' layout: the components that model_index.json names, the averaged weights "<component>_ema"
//   beside them, and soup's own autoencoder; anything else in the folder (records, checkpoints, logs) is no part of it;
// - a folder with weights and their configuration, as transformers and diffusers write one component: one part;
// - a weights file of any kind that Weights::open reads: one part, nothing else.
// Where a component has its weights in several variants (x.safetensors and x.fp16.safetensors) `variant` chooses; ""
// takes those without a variant's name. Throws DataError: none of these, a component without folder, weights only as
// pickle files.
ModelFolder open_model(const std::filesystem::path& path, const std::string& variant = {});

// A base that was not averaged while it was trained has no "unet_ema", but the averages of models that come from it
// began at its "unet": where `like` has such a component and `base` has not, the plain one stands in for it, with its
// files.
void lend_averages(const ModelFolder& like, ModelFolder& base);

// "unet/x.fp16-00001-of-00002.safetensors" -> "unet/x-00001-of-00002.safetensors"; likewise of an index.
std::filesystem::path without_variant(const std::filesystem::path& file);
// "unet/x-00001-of-00002.safetensors" -> "x": what the files of one part have in common.
std::string stem_of(const std::filesystem::path& weights_file);

Weights open_part(const ModelFolder& model, const ModelPart& part);
// Files of the part's names below another folder, as a soup keeps its sums. Only .safetensors.
Weights open_part_below(const std::filesystem::path& folder, const std::string& part,
                        const std::vector<std::filesystem::path>& files);
Digest part_digest(const ModelFolder& model, const ModelPart& part);

}  // namespace soup
