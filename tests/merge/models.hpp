// Small model folders in diffusers' layout for tests of merging: a U-Net, its EMA, a frozen text encoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "core/safetensors.hpp"
#include "merge/merge_files.hpp"

namespace soup::test {

// What can be wrong with an ingredient, on top of being a good one.
struct Flaws {
  std::string base = "base";  // text whose digest is the base's
  bool with_record = true;
  float poison = 0.0F;          // replaces one weight of the U-Net when not 0
  std::int64_t steps = 1000;    // content of an integer tensor
  std::string text = "frozen";  // seed of the text encoder
  std::string config = "{}\n";  // unet/config.json
  std::int64_t width = 40;      // extent of a tensor
  DType dtype = DType::f32;     // F32, F16 or BF16
};

// Weights that depend on the name only.
std::vector<float> weights_named(const std::string& name, std::size_t count);
// Writes the folder and gives the input for a merge.
MergeInput make_ingredient(const std::filesystem::path& root, const std::string& name, std::int64_t weight = 1,
                           const Flaws& flaws = {});

// The message of the error that merging these into root/refused gives, and that nothing was left behind in `root`.
std::string merge_refusal(const std::filesystem::path& root, const std::vector<MergeInput>& inputs,
                          const MergeOptions& options);

// One step of a random history: an input moves from one list to the other, and one always stays in.
struct HistoryStep {
  MergeInput moved;
  bool added = false;
};
HistoryStep random_step(RandomStream& stream, std::vector<MergeInput>& in, std::vector<MergeInput>& out);

// Float tensor of a file, decoded; empty when absent.
std::vector<float> floats_of(const std::filesystem::path& file, const std::string& tensor);
std::vector<std::int64_t> integers_of(const std::filesystem::path& file, const std::string& tensor);
std::string bytes_of(const std::filesystem::path& file);

inline const std::filesystem::path unet_file = "unet/diffusion_pytorch_model.safetensors";
inline const std::filesystem::path ema_file = "unet_ema/diffusion_pytorch_model.safetensors";
inline const std::filesystem::path text_file = "text_encoder/model.safetensors";

}  // namespace soup::test
