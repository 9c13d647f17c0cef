// A text-to-image model in memory.
#include "trainer/model.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "trainer/autoencoder_kl.hpp"
#include "trainer/initialise.hpp"

namespace soup {
namespace {

std::shared_ptr<Autoencoder> autoencoder_of(const ModelConfig& config) {
  if (config.autoencoder == "AutoencoderKL") {
    return make_autoencoder(std::make_shared<AutoencoderKL>(config.vae));
  }
  return make_autoencoder(config.autoencoder);
}

// Throws ConfigError where the U-Net's channels are not what the autoencoder makes of images.
void check_channels(const ModelConfig& config, const Autoencoder& autoencoder) {
  const std::int64_t in = config.unet.in_channels;
  const std::int64_t out = config.unet.out_channels;
  const std::int64_t per_channel = autoencoder.latent_channels(1);
  const bool any_image = config.autoencoder != "AutoencoderKL";  // whose latents are the same for any image
  if (in != out || (any_image ? in % per_channel : in - per_channel) != 0) {
    throw ConfigError(fmt::format("the U-Net maps {} channels to {}; autoencoder {} needs both to be {}{}", in, out,
                                  autoencoder.name(), any_image ? "equal and a multiple of " : "", per_channel));
  }
}

// Throws ConfigError where the parts, each possible by itself, do not fit together.
void check_parts(const ModelConfig& config, const Tokenizer& tokenizer, const Autoencoder& autoencoder) {
  check_channels(config, autoencoder);
  if (config.unet.takes_text() && config.unet.cross_attention_dim != config.text_encoder.hidden_size) {
    throw ConfigError(
        fmt::format("the U-Net attends to text of width {} (cross_attention_dim), but the text encoder "
                    "gives {} (hidden_size)",
                    config.unet.cross_attention_dim, config.text_encoder.hidden_size));
  }
  if (tokenizer.vocab_size() > config.text_encoder.vocab_size) {
    throw ConfigError(fmt::format("the tokenizer has {} tokens, the text encoder embeds only {} (vocab_size)",
                                  tokenizer.vocab_size(), config.text_encoder.vocab_size));
  }
  if (tokenizer.max_length() > config.text_encoder.max_position_embeddings) {
    throw ConfigError(
        fmt::format("the tokenizer gives {} tokens a caption, the text encoder takes only {} "
                    "(max_position_embeddings)",
                    tokenizer.max_length(), config.text_encoder.max_position_embeddings));
  }
}

}  // namespace

at::Tensor DiffusionModel::tokenize(const std::vector<std::string>& captions, std::int64_t* truncated) const {
  const std::int64_t length = tokenizer->max_length();
  at::Tensor ids = at::empty({static_cast<std::int64_t>(captions.size()), length}, at::kLong);
  std::int64_t* row = ids.mutable_data_ptr<std::int64_t>();
  for (const std::string& caption : captions) {
    const TokenizedCaption tokens = tokenizer->encode(caption);
    row = std::copy(tokens.ids.begin(), tokens.ids.end(), row);
    if (truncated != nullptr && tokens.truncated) {
      ++*truncated;
    }
  }
  return ids;
}

at::Tensor DiffusionModel::encode_text(const std::vector<std::string>& captions, std::int64_t* truncated,
                                       std::int64_t clip_skip) const {
  return text_encoder->forward(tokenize(captions, truncated).to(device()), clip_skip);
}

at::Device DiffusionModel::device() const {
  return unet->parameters().front().device();
}

void DiffusionModel::to(at::Device device) {
  unet->to(device);
  text_encoder->to(device);
  if (torch::nn::Module* network = autoencoder->network()) {
    network->to(device);
  }
}

void DiffusionModel::set_schedule(const ScheduleConfig& schedule_config) {
  schedule = std::make_shared<NoiseSchedule>(schedule_config);
  config.schedule = schedule_config;
}

at::Tensor DiffusionModel::encode_images(const at::Tensor& images) const {
  // An encoder's inner images are a hundred times as large as the image: one at a time.
  const std::int64_t batch = autoencoder->samples() ? 1 : std::max<std::int64_t>(1, images.size(0));
  std::vector<at::Tensor> latents;
  for (const at::Tensor& part : images.split(batch)) {
    latents.push_back(autoencoder->latents(autoencoder->encode(part.to(device())), {}));
  }
  return at::cat(latents);
}

DiffusionModel assemble_model(const ModelConfig& config, std::shared_ptr<Tokenizer> tokenizer) {
  DiffusionModel model;
  model.config = config;
  model.autoencoder = autoencoder_of(config);
  check_parts(config, *tokenizer, *model.autoencoder);
  model.unet = std::make_shared<UNet2DConditionModel>(config.unet);
  model.text_encoder = std::make_shared<CLIPTextModel>(config.text_encoder);
  model.tokenizer = std::move(tokenizer);
  model.schedule = std::make_shared<NoiseSchedule>(config.schedule);
  return model;
}

DiffusionModel make_model(const ModelConfig& config, std::shared_ptr<Tokenizer> tokenizer, SeedTree seeds) {
  ModelConfig complete = config;
  complete.text_encoder.bos_token_id = tokenizer->start_token();
  complete.text_encoder.eos_token_id = tokenizer->end_token();
  DiffusionModel model = assemble_model(complete, std::move(tokenizer));
  initialise(*model.unet, "unet", seeds);
  initialise(*model.text_encoder, "text_encoder", seeds);
  if (auto* vae = dynamic_cast<AutoencoderKL*>(model.autoencoder->network())) {
    initialise(*vae, "vae", seeds);
  }
  return model;
}

}  // namespace soup
