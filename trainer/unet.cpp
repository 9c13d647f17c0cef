// UNet2DConditionModel: the blocks in the order and with the channel counts that diffusers' constructor gives them.
#include "trainer/unet.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "trainer/unet_blocks.hpp"

namespace soup {
namespace {

// Sinusoids of the timestep (Vaswani et al. 2017, section 3.5): [N] -> [N, width].
at::Tensor timestep_embedding(const at::Tensor& timesteps, const UNetConfig& config) {
  const std::int64_t half = config.block_out_channels[0] / 2;
  const at::Tensor frequencies = at::exp(at::arange(half, timesteps.options().dtype(at::kFloat)) * -std::log(10000.0) /
                                         static_cast<double>(half - config.freq_shift));
  const at::Tensor angles = timesteps.to(at::kFloat).unsqueeze(-1) * frequencies;
  return config.flip_sin_to_cos ? at::cat({at::cos(angles), at::sin(angles)}, -1)
                                : at::cat({at::sin(angles), at::cos(angles)}, -1);
}

class TimestepEmbedding : public torch::nn::Module {
 public:
  TimestepEmbedding(std::int64_t in, std::int64_t out) {
    linear_1_ = register_module("linear_1", std::make_shared<Linear>(in, out));
    linear_2_ = register_module("linear_2", std::make_shared<Linear>(out, out));
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& sinusoids) const {
    return linear_2_->forward(at::silu(linear_1_->forward(sinusoids)));
  }

 private:
  std::shared_ptr<Linear> linear_1_;
  std::shared_ptr<Linear> linear_2_;
};

// The transformers at one level of the network; none when it `has` none.
TransformerOptions transformers_of(const UNetConfig& config, std::size_t level, bool has) {
  return {.heads = has ? config.heads(level) : 0,
          .layers = config.transformer_layers(level),
          .context_width = config.cross_attention_dim,
          .groups = config.norm_num_groups,
          .linear_projection = config.use_linear_projection,
          .upcast = config.upcast_attention};
}

}  // namespace

struct UNet2DConditionModel::Blocks {
  std::shared_ptr<Conv2d> conv_in;
  std::shared_ptr<TimestepEmbedding> time_embedding;
  std::shared_ptr<ModuleSequence<DownBlock>> down_blocks;
  std::shared_ptr<ModuleSequence<UpBlock>> up_blocks;
  std::shared_ptr<MidBlock> mid_block;  // may be null
  std::shared_ptr<GroupNorm> conv_norm_out;
  std::shared_ptr<Conv2d> conv_out;
};

UNet2DConditionModel::UNet2DConditionModel(const UNetConfig& config)
    : config_(config), blocks_(std::make_unique<Blocks>()) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw ConfigError("U-Net: " + problem);
  }
  const std::vector<std::int64_t>& channels = config.block_out_channels;
  const std::size_t depth = channels.size();
  const BlockOptions options{
      .time_width = 4 * channels[0], .groups = config.norm_num_groups, .norm_epsilon = config.norm_eps};

  blocks_->conv_in = register_module("conv_in", std::make_shared<Conv2d>(config.in_channels, channels[0], 3));
  blocks_->time_embedding =
      register_module("time_embedding", std::make_shared<TimestepEmbedding>(channels[0], options.time_width));
  blocks_->down_blocks = register_module("down_blocks", std::make_shared<ModuleSequence<DownBlock>>());
  blocks_->up_blocks = register_module("up_blocks", std::make_shared<ModuleSequence<UpBlock>>());

  // Channels of every image on the skip stack, in the order forward() pushes them.
  std::vector<std::int64_t> skip_channels = {channels[0]};
  for (std::size_t level = 0; level < depth; ++level) {
    const bool last = level + 1 == depth;
    const std::int64_t layers = config.layers(level);
    blocks_->down_blocks->append(
        std::make_shared<DownBlock>(channels[level == 0 ? 0 : level - 1], channels[level], layers,
                                    transformers_of(config, level, config.down_has_attention(level)), !last, options));
    skip_channels.insert(skip_channels.end(), static_cast<std::size_t>(layers + (last ? 0 : 1)), channels[level]);
  }
  if (!config.mid_block_type.empty()) {
    blocks_->mid_block = register_module(
        "mid_block", std::make_shared<MidBlock>(
                         channels.back(), transformers_of(config, depth - 1, config.middle_has_attention()), options));
  }
  std::int64_t below = channels.back();
  for (std::size_t level = depth; level-- > 0;) {
    std::vector<std::int64_t> taken;
    for (std::int64_t layer = 0; layer <= config.layers(level); ++layer) {
      taken.push_back(skip_channels.back());
      skip_channels.pop_back();
    }
    blocks_->up_blocks->append(std::make_shared<UpBlock>(below, channels[level], taken,
                                                         transformers_of(config, level, config.up_has_attention(level)),
                                                         level > 0, options));
    below = channels[level];
  }
  blocks_->conv_norm_out = register_module(
      "conv_norm_out", std::make_shared<GroupNorm>(config.norm_num_groups, channels[0], config.norm_eps));
  blocks_->conv_out = register_module("conv_out", std::make_shared<Conv2d>(channels[0], config.out_channels, 3));
}

UNet2DConditionModel::~UNet2DConditionModel() = default;

const UNetConfig& UNet2DConditionModel::config() const {
  return config_;
}

at::Tensor UNet2DConditionModel::forward(const at::Tensor& sample, const at::Tensor& timesteps,
                                         const at::Tensor& text) {
  SOUP_REQUIRE(sample.dim() == 4 && sample.size(1) == config_.in_channels,
               fmt::format("sample must be [N, {}, H, W]", config_.in_channels));
  SOUP_REQUIRE(timesteps.dim() == 1 && timesteps.size(0) == sample.size(0), "timesteps must be [N]");
  SOUP_REQUIRE(!config_.takes_text() || (text.defined() && text.dim() == 3 && text.size(0) == sample.size(0) &&
                                         text.size(2) == config_.cross_attention_dim),
               fmt::format("text must be [N, L, {}]", config_.cross_attention_dim));

  // Channels last: convolutions need no reordering, and the transformers read the image as tokens without a copy.
  at::Tensor image = blocks_->conv_in->forward(
      (config_.center_input_sample ? 2.0 * sample - 1.0 : sample).contiguous(at::MemoryFormat::ChannelsLast));
  Conditioning conditioning;
  // Every residual block takes the embedding through SiLU: once for all.
  conditioning.time =
      at::silu(blocks_->time_embedding->forward(timestep_embedding(timesteps, config_).to(sample.scalar_type())));
  conditioning.text = text;
  conditioning.recompute = recompute_;

  std::vector<at::Tensor> skips = {image};
  for (const auto& block : *blocks_->down_blocks) {
    image = block->forward(std::move(image), conditioning, skips);
  }
  if (blocks_->mid_block) {
    image = blocks_->mid_block->forward(std::move(image), conditioning);
  }
  for (const auto& block : *blocks_->up_blocks) {
    image = block->forward(std::move(image), conditioning, skips);
  }
  return blocks_->conv_out->forward(blocks_->conv_norm_out->forward_silu(image));
}

}  // namespace soup
