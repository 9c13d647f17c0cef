// A text-to-image model in memory: U-Net, text encoder, tokenizer, autoencoder, noise schedule; and its folder on disk.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "core/tensor_layout.hpp"
#include "trainer/autoencoder.hpp"
#include "trainer/clip_text.hpp"
#include "trainer/model_config.hpp"
#include "trainer/noise_schedule.hpp"
#include "trainer/tokenizer.hpp"
#include "trainer/unet.hpp"

namespace soup {

struct DiffusionModel {
  ModelConfig config;
  std::shared_ptr<UNet2DConditionModel> unet;
  std::shared_ptr<CLIPTextModel> text_encoder;
  std::shared_ptr<Tokenizer> tokenizer;
  std::shared_ptr<Autoencoder> autoencoder;
  std::shared_ptr<NoiseSchedule> schedule;
  std::vector<std::string> remarks;  // what load_model left out, a sentence each, for the user
  // Before the names of the text encoder's tensors in files; as where it was loaded from, so that models of one origin
  // have the same names. transformers 4 knows only this one (without it, it warns and takes random weights),
  // transformers 5 reads both and may write either.
  std::string text_prefix = "text_model.";

  // Where the weights are, and moving them; outputs of the calls below are there too.
  [[nodiscard]] at::Device device() const;
  void to(at::Device device);
  // Side of the square images that it is made for, in pixels.
  [[nodiscard]] std::int64_t native_side() const { return config.unet.sample_size * autoencoder->factor(); }
  // Another noise schedule for the same networks.
  void set_schedule(const ScheduleConfig& schedule_config);
  // Images float [N, C, H, W] in [-1, 1] -> latents, where the autoencoder draws them their mean.
  [[nodiscard]] at::Tensor encode_images(const at::Tensor& images) const;
  // Captions -> token ids int64 [N, L] in memory; truncated captions are counted into *truncated when given.
  [[nodiscard]] at::Tensor tokenize(const std::vector<std::string>& captions, std::int64_t* truncated = nullptr) const;
  // Captions -> text states [N, L, D]. clip_skip as in CLIPTextModel::forward.
  [[nodiscard]] at::Tensor encode_text(const std::vector<std::string>& captions, std::int64_t* truncated = nullptr,
                                       std::int64_t clip_skip = 1) const;
};

// The parts with uninitialised weights. Throws ConfigError where the parts do not fit together.
DiffusionModel assemble_model(const ModelConfig& config, std::shared_ptr<Tokenizer> tokenizer);
// Fresh weights, drawn from stream("init", "<part>.<parameter>", 0) of the root seed only, with the parts unet,
// text_encoder and vae: every rank and every ingredient draws the same. The text encoder's start and end token ids
// become the tokenizer's.
DiffusionModel make_model(const ModelConfig& config, std::shared_ptr<Tokenizer> tokenizer, SeedTree seeds);

enum class WeightSet { raw, ema };  // folders unet, text_encoder / unet_ema, text_encoder_ema

// Folder: model_index.json, unet/, text_encoder/, tokenizer/, scheduler/ and vae/ in diffusers' layout; instead of
// vae/, autoencoder/ for those without weights. Loading is strict: missing, unexpected, mis-shaped and non-finite
// tensors are listed in one DataError. Weights may be in several files (weight_places.hpp), half precision is widened
// to float32; pickles (.bin) are never opened. WeightSet::ema falls back to raw for a part that has no _ema folder.
DiffusionModel load_model(const std::filesystem::path& folder, WeightSet weights = WeightSet::raw,
                          at::Device device = at::kCPU);
// The same without reading weights, which stay uninitialised and need not be there: for who has them elsewhere.
DiffusionModel assemble_like(const std::filesystem::path& folder);
// Whether WeightSet::ema is anything else than the raw weights.
[[nodiscard]] bool has_ema_weights(const std::filesystem::path& folder);
// Writes everything into `folder` (existing; callers wrap it in AtomicFolder). `metadata` goes into the safetensors
// headers.
void save_model(const std::filesystem::path& folder, const DiffusionModel& model,
                const std::map<std::string, std::string>& metadata);
// The same of a model that was fine-tuned from the one in folder `base`: weights of the parts `trained` ("unet",
// "text_encoder"), and the base's own files for all else that the training did not change.
void save_fine_tuned(const std::filesystem::path& folder, const DiffusionModel& model,
                     const std::filesystem::path& base, const std::vector<std::string>& trained,
                     const std::map<std::string, std::string>& metadata);
// One part's weights with the config.json beside them; `folder` is the part's own, e.g. "<model>/unet_ema", and is made
// when absent.
void save_unet(const std::filesystem::path& folder, const UNet2DConditionModel& unet,
               const std::map<std::string, std::string>& metadata);
void save_text_encoder(const std::filesystem::path& folder, const DiffusionModel& model,
                       const std::map<std::string, std::string>& metadata);

}  // namespace soup
