#include "experiments/model_size.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/experiment.hpp"
#include "merge/model_folder.hpp"

namespace soup {

namespace {

constexpr std::uintmax_t max_config_bytes = 1U << 20;

std::int64_t linear(std::int64_t in, std::int64_t out) {
  return in * out + out;
}
std::int64_t conv3(std::int64_t in, std::int64_t out) {
  return 9 * in * out + out;
}

// Names and shapes as diffusers' ResnetBlock2D, Transformer2DModel, CrossAttnDownBlock2D, ... have them.
class UNetCount {
 public:
  explicit UNetCount(const UNetConfig& config) : config_(config), time_(4 * config.block_out_channels.front()) {}

  [[nodiscard]] std::int64_t all() const {
    const auto& channels = config_.block_out_channels;
    const std::int64_t first = channels.front();
    const std::int64_t last = channels.back();
    const std::size_t levels = channels.size();
    std::int64_t count = linear(first, time_) + linear(time_, time_) + conv3(config_.in_channels, first) + 2 * first +
                         conv3(first, config_.out_channels);
    for (std::size_t i = 0; i < levels; ++i) {
      count +=
          down(i == 0 ? first : channels[i - 1], channels[i], attends(config_.down_block_types[i]), i + 1 < levels);
    }
    count += 2 * resnet(last, last) + attention(last);
    std::int64_t before = last;
    for (std::size_t i = 0; i < levels; ++i) {
      const std::size_t level = levels - 1 - i;
      count += up(before, channels[level], level == 0 ? first : channels[level - 1], attends(config_.up_block_types[i]),
                  level > 0);
      before = channels[level];
    }
    return count;
  }

 private:
  static bool attends(const std::string& type) { return type.starts_with("CrossAttn"); }

  [[nodiscard]] std::int64_t resnet(std::int64_t in, std::int64_t out) const {
    return 2 * in + conv3(in, out) + linear(time_, out) + 2 * out + conv3(out, out) + (in == out ? 0 : linear(in, out));
  }
  [[nodiscard]] std::int64_t attention(std::int64_t channels) const {
    const std::int64_t text = config_.cross_attention_dim;
    const std::int64_t self = 3 * channels * channels + linear(channels, channels);
    const std::int64_t cross = channels * channels + 2 * text * channels + linear(channels, channels);
    const std::int64_t feed_forward = linear(channels, 8 * channels) + linear(4 * channels, channels);  // GEGLU
    const std::int64_t layer = 6 * channels + self + cross + feed_forward;
    return 2 * channels + 2 * linear(channels, channels) + config_.transformer_layers_per_block * layer;
  }
  [[nodiscard]] std::int64_t down(std::int64_t in, std::int64_t out, bool attending, bool halves) const {
    const std::int64_t layers = config_.layers_per_block;
    return resnet(in, out) + (layers - 1) * resnet(out, out) + (attending ? layers * attention(out) : 0) +
           (halves ? conv3(out, out) : 0);
  }
  // `below`: channels of the next level's skip connection.
  [[nodiscard]] std::int64_t up(std::int64_t in, std::int64_t out, std::int64_t below, bool attending,
                                bool doubles) const {
    const std::int64_t layers = config_.layers_per_block + 1;
    std::int64_t count = (attending ? layers * attention(out) : 0) + (doubles ? conv3(out, out) : 0);
    for (std::int64_t i = 0; i < layers; ++i) {
      count += resnet((i == 0 ? in : out) + (i + 1 == layers ? below : out), out);
    }
    return count;
  }

  const UNetConfig& config_;
  std::int64_t time_;
};

std::int64_t text_encoder_count(const TextEncoderConfig& text) {
  const std::int64_t hidden = text.hidden_size;
  const std::int64_t layer = 4 * linear(hidden, hidden) + 4 * hidden + linear(hidden, text.intermediate_size) +
                             linear(text.intermediate_size, hidden);
  return (text.vocab_size + text.max_position_embeddings) * hidden + text.num_hidden_layers * layer + 2 * hidden;
}

// Of diffusers' Encoder, for one image of side x side pixels.
AutoencoderSize encoder_size(const AutoencoderKLConfig& config, std::int64_t side) {
  const auto& channels = config.block_out_channels;
  double pixels = static_cast<double>(side) * static_cast<double>(side);
  AutoencoderSize size;
  const auto convolve = [&](std::int64_t in, std::int64_t out, std::int64_t weights_each) {
    size.products += pixels * static_cast<double>(weights_each * in * out);
  };
  const auto resnet = [&](std::int64_t in, std::int64_t out) {
    convolve(in, out, 9);
    convolve(out, out, 9);
    convolve(in, out, in == out ? 0 : 1);
  };
  convolve(config.in_channels, channels.front(), 9);
  for (std::size_t level = 0; level < channels.size(); ++level) {
    for (std::int64_t layer = 0; layer < config.layers_per_block; ++layer) {
      resnet(level > 0 && layer == 0 ? channels[level - 1] : channels[level], channels[level]);
    }
    size.numbers =
        std::max(size.numbers, static_cast<std::uint64_t>(pixels) * static_cast<std::uint64_t>(channels[level]));
    if (level + 1 < channels.size()) {
      pixels /= 4.0;
      convolve(channels[level], channels[level], 9);
    }
  }
  const std::int64_t last = channels.back();
  resnet(last, last);
  resnet(last, last);
  if (config.mid_block_add_attention) {
    convolve(last, last, 4);
    size.products += 2.0 * pixels * pixels * static_cast<double>(last);
  }
  size.moments = 2 * config.latent_channels;
  convolve(last, size.moments, 9);
  convolve(size.moments, size.moments, config.use_quant_conv ? 1 : 0);
  return size;
}

std::uint64_t stored_count(const ModelFolder& model, const std::string& part) {
  const ModelPart* found = model.find(part);
  if (found == nullptr) {
    throw DataError(model.path / part, "the model has no such part", "a base holds a U-Net and a text encoder");
  }
  std::uint64_t count = 0;
  const Weights weights = open_part(model, *found);
  for (const WeightTensor& tensor : weights.tensors()) {
    count += tensor.elements;
  }
  return count;
}

nlohmann::json read_config(const std::filesystem::path& file) {
  nlohmann::json json = nlohmann::json::parse(read_file(file, max_config_bytes), nullptr, false);
  if (!json.is_object()) {
    throw DataError(file, "not a JSON object", "is this a model folder of soup or diffusers?");
  }
  return json;
}

// Name and factor, and the configuration where there are weights.
struct AutoencoderKind {
  std::string name;
  std::int64_t factor = 1;
  std::optional<AutoencoderKLConfig> config = {};
};

AutoencoderKind autoencoder_kind(const ModelFolder& model) {
  if (model.find("vae") != nullptr) {
    const std::filesystem::path file = model.path / "vae" / "config.json";
    const AutoencoderKLConfig config = AutoencoderKLConfig::from_json(read_config(file), file.native());
    return {"AutoencoderKL", config.factor(), config};
  }
  const std::filesystem::path file = model.path / "autoencoder" / "config.json";
  const nlohmann::json name = read_config(file).value("name", nlohmann::json());
  if (!name.is_string()) {
    throw DataError(file, "does not name an autoencoder");
  }
  const std::optional<LatentShape> latent = latent_shape(name.get<std::string>());
  if (!latent) {
    throw DataError(file, fmt::format("its autoencoder {} is not known", name.dump()));
  }
  return {name.get<std::string>(), latent->factor};
}

}  // namespace

ModelSize model_size(const ModelConfig& config) {
  return {.unet = static_cast<std::uint64_t>(UNetCount(config.unet).all()),
          .text_encoder = static_cast<std::uint64_t>(text_encoder_count(config.text_encoder)),
          .sample_size = config.unet.sample_size,
          .first_channels = config.unet.block_out_channels.front(),
          .tokens = config.text_encoder.max_position_embeddings,
          .text_width = config.text_encoder.hidden_size,
          .autoencoder = config.autoencoder,
          .factor = latent_shape(config.autoencoder).value_or(LatentShape()).factor};
}

ModelSize model_size(const std::filesystem::path& folder) {
  const ModelFolder model = open_model(folder);
  const std::filesystem::path unet_file = folder / "unet" / "config.json";
  const UNetConfig unet = UNetConfig::from_json(read_config(unet_file), unet_file.native());
  const std::filesystem::path text_file = folder / "text_encoder" / "config.json";
  const TextEncoderConfig text = TextEncoderConfig::from_json(read_config(text_file), text_file.native());
  const AutoencoderKind autoencoder = autoencoder_kind(model);
  std::optional<AutoencoderSize> encoder;
  if (autoencoder.config) {
    encoder = encoder_size(*autoencoder.config, unet.sample_size * autoencoder.factor);
    encoder->weights = stored_count(model, "vae");
  }
  return {.unet = stored_count(model, "unet"),
          .text_encoder = stored_count(model, "text_encoder"),
          .sample_size = unet.sample_size,
          .first_channels = unet.block_out_channels.front(),
          .tokens = text.max_position_embeddings,
          .text_width = text.hidden_size,
          .autoencoder = autoencoder.name,
          .factor = autoencoder.factor,
          .encoder = encoder};
}

}  // namespace soup
