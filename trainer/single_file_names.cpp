// The original layout numbers the U-Net's blocks through: one number for each residual block or change of resolution.
#include "trainer/single_file_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {
namespace {

constexpr std::string_view unet_prefix = "model.diffusion_model.";
constexpr std::string_view vae_prefix = "first_stage_model.";
constexpr std::string_view clip_prefix = "cond_stage_model.transformer.text_model.";
constexpr std::string_view open_clip_prefix = "cond_stage_model.model.";

using Renamed = std::pair<std::string_view, std::string_view>;

[[noreturn]] void unknown(const std::string& parameter) {
  throw InvariantError("single file: no place for the parameter " + parameter);
}

std::string joined(const std::vector<std::string>& words, std::size_t first) {
  std::string text;
  for (std::size_t i = first; i < words.size(); ++i) {
    text += (i > first ? "." : "") + words[i];
  }
  return text;
}

std::int64_t number(const std::vector<std::string>& words, std::size_t at, const std::string& parameter) {
  std::int64_t value = 0;
  if (at >= words.size() || std::from_chars(words[at].data(), words[at].data() + words[at].size(), value).ptr !=
                                words[at].data() + words[at].size()) {
    unknown(parameter);
  }
  return value;
}

// The beginning of a name replaced by what the table says; nullptr-like "" where it has none.
template <std::size_t N>
std::string replaced(const std::string& name, const std::array<Renamed, N>& table) {
  for (const auto& [from, to] : table) {
    if (name.starts_with(from)) {
      return std::string(to) + name.substr(from.size());
    }
  }
  return {};
}

constexpr auto resnet_parts = std::to_array<Renamed>({{"norm1.", "in_layers.0."},
                                                      {"conv1.", "in_layers.2."},
                                                      {"time_emb_proj.", "emb_layers.1."},
                                                      {"norm2.", "out_layers.0."},
                                                      {"conv2.", "out_layers.3."},
                                                      {"conv_shortcut.", "skip_connection."}});

constexpr auto unet_ends = std::to_array<Renamed>({{"time_embedding.linear_1.", "time_embed.0."},
                                                   {"time_embedding.linear_2.", "time_embed.2."},
                                                   {"conv_in.", "input_blocks.0.0."},
                                                   {"conv_norm_out.", "out.0."},
                                                   {"conv_out.", "out.2."}});

constexpr auto vae_resnet_parts = std::to_array<Renamed>({{"conv_shortcut.", "nin_shortcut."},
                                                          {"norm1.", "norm1."},
                                                          {"conv1.", "conv1."},
                                                          {"norm2.", "norm2."},
                                                          {"conv2.", "conv2."}});

constexpr auto vae_attention_parts = std::to_array<Renamed>(
    {{"group_norm.", "norm."}, {"to_q.", "q."}, {"to_k.", "k."}, {"to_v.", "v."}, {"to_out.0.", "proj_out."}});

constexpr auto vae_ends =
    std::to_array<Renamed>({{"conv_in.", "conv_in."}, {"conv_norm_out.", "norm_out."}, {"conv_out.", "conv_out."}});

constexpr auto open_clip_ends =
    std::to_array<Renamed>({{"embeddings.token_embedding.", "token_embedding."},
                            {"embeddings.position_embedding.weight", "positional_embedding"},
                            {"final_layer_norm.", "ln_final."}});

constexpr auto open_clip_layer_parts = std::to_array<Renamed>({{"layer_norm1.", "ln_1."},
                                                               {"layer_norm2.", "ln_2."},
                                                               {"mlp.fc1.", "mlp.c_fc."},
                                                               {"mlp.fc2.", "mlp.c_proj."},
                                                               {"self_attn.out_proj.", "attn.out_proj."}});

// "resnets.J.<rest>", "attentions.J.<rest>", "downsamplers.0.conv.<rest>" behind "down_blocks.I.".
struct BlockName {
  std::string kind;
  std::int64_t layer;
  std::string rest;
};

BlockName block_name(const std::vector<std::string>& words, std::size_t at, const std::string& parameter) {
  if (words.size() < at + 3) {
    unknown(parameter);
  }
  return {words[at], number(words, at + 1, parameter), joined(words, at + 2)};
}

}  // namespace

SingleFileNames::SingleFileNames(UNetConfig unet, AutoencoderKLConfig vae, bool open_clip)
    : unet_(std::move(unet)), vae_(std::move(vae)), open_clip_(open_clip) {}

// Number of the block with residual block `layer` of down block `level`; behind the last one is the downsampler's.
std::int64_t SingleFileNames::input_block(std::int64_t level, std::int64_t layer) const {
  std::int64_t block = 1;  // conv_in is 0
  for (std::int64_t i = 0; i < level; ++i) {
    block += unet_.layers(static_cast<std::size_t>(i)) + 1;
  }
  return block + layer;
}

// Likewise on the way up, `level` counted as diffusers counts up blocks: from the smallest images.
std::int64_t SingleFileNames::output_block(std::int64_t level, std::int64_t layer) const {
  const auto levels = static_cast<std::int64_t>(unet_.levels());
  std::int64_t block = 0;
  for (std::int64_t i = 0; i < level; ++i) {
    block += unet_.layers(static_cast<std::size_t>(levels - 1 - i)) + 1;
  }
  return block + layer;
}

SingleFilePlace SingleFileNames::unet(const std::string& parameter) const {
  if (const std::string end = replaced(parameter, unet_ends); !end.empty()) {
    return {.name = std::string(unet_prefix) + end};
  }
  const std::vector<std::string> words = split(parameter, '.');
  std::string name;
  if (words[0] == "mid_block") {
    const BlockName block = block_name(words, 1, parameter);
    if (block.kind == "attentions") {
      name = "middle_block.1." + block.rest;
    } else {
      name = fmt::format("middle_block.{}.{}", 2 * block.layer, replaced(block.rest, resnet_parts));
    }
  } else if (words[0] == "down_blocks" || words[0] == "up_blocks") {
    const bool down = words[0] == "down_blocks";
    const std::int64_t level = number(words, 1, parameter);
    const auto levels = static_cast<std::int64_t>(unet_.levels());
    if (level >= levels) {
      unknown(parameter);
    }
    const BlockName block = block_name(words, 2, parameter);
    const std::int64_t place = down ? input_block(level, block.layer) : output_block(level, block.layer);
    const std::string prefix = fmt::format("{}.{}.", down ? "input_blocks" : "output_blocks", place);
    if (block.kind == "resnets") {
      name = prefix + "0." + replaced(block.rest, resnet_parts);
    } else if (block.kind == "attentions") {
      name = prefix + "1." + block.rest;
    } else if (block.kind == "downsamplers" && block.rest.starts_with("conv.")) {
      const std::int64_t last = input_block(level, unet_.layers(static_cast<std::size_t>(level)));
      name = fmt::format("input_blocks.{}.0.op.{}", last, block.rest.substr(5));
    } else if (block.kind == "upsamplers") {
      // Within the last block of its level, behind the residual block and the transformer, if there is one.
      const std::int64_t last = output_block(level, unet_.layers(static_cast<std::size_t>(levels - 1 - level)));
      const int behind = unet_.up_has_attention(static_cast<std::size_t>(levels - 1 - level)) ? 2 : 1;
      name = fmt::format("output_blocks.{}.{}.{}", last, behind, block.rest);
    }
  }
  if (name.empty() || name.ends_with('.')) {
    unknown(parameter);
  }
  return {.name = std::string(unet_prefix) + name};
}

SingleFilePlace SingleFileNames::vae(const std::string& parameter) const {
  if (parameter.starts_with("quant_conv.") || parameter.starts_with("post_quant_conv.")) {
    return {.name = std::string(vae_prefix) + parameter};
  }
  const std::vector<std::string> words = split(parameter, '.');
  const std::string side = words[0];  // encoder or decoder
  const std::string prefix = std::string(vae_prefix) + side + ".";
  const std::string inner = joined(words, 1);
  if (const std::string end = replaced(inner, vae_ends); !end.empty()) {
    return {.name = prefix + end};
  }
  std::string name;
  bool is_convolution = false;
  if (words.size() > 2 && words[1] == "mid_block") {
    const BlockName block = block_name(words, 2, parameter);
    if (block.kind == "attentions") {
      const std::string part = replaced(block.rest, vae_attention_parts);
      name = part.empty() ? part : "mid.attn_1." + part;
      is_convolution = part.ends_with(".weight") && !part.starts_with("norm.");
    } else if (const std::string part = replaced(block.rest, vae_resnet_parts); !part.empty()) {
      name = fmt::format("mid.block_{}.{}", block.layer + 1, part);
    }
  } else if (words.size() > 2 && (words[1] == "down_blocks" || words[1] == "up_blocks")) {
    const bool down = words[1] == "down_blocks";
    const auto levels = static_cast<std::int64_t>(vae_.block_out_channels.size());
    // The decoder's blocks are numbered from the largest images, too.
    const std::int64_t level = down ? number(words, 2, parameter) : levels - 1 - number(words, 2, parameter);
    const BlockName block = block_name(words, 3, parameter);
    const char* way = down ? "down" : "up";
    if (block.kind == "resnets") {
      if (const std::string part = replaced(block.rest, vae_resnet_parts); !part.empty()) {
        name = fmt::format("{}.{}.block.{}.{}", way, level, block.layer, part);
      }
    } else {
      name = fmt::format("{}.{}.{}sample.{}", way, level, way, block.rest);
    }
  }
  if (name.empty()) {
    unknown(parameter);
  }
  return {.name = prefix + name, .is_convolution = is_convolution};
}

SingleFilePlace SingleFileNames::text_encoder(const std::string& parameter) const {
  if (!open_clip_) {
    return {.name = std::string(clip_prefix) + parameter};
  }
  if (const std::string end = replaced(parameter, open_clip_ends); !end.empty()) {
    return {.name = std::string(open_clip_prefix) + end};
  }
  const std::vector<std::string> words = split(parameter, '.');
  if (words.size() < 5 || words[0] != "encoder" || words[1] != "layers") {
    unknown(parameter);
  }
  const std::string prefix = fmt::format("{}transformer.resblocks.{}.", open_clip_prefix, words[2]);
  const std::string rest = joined(words, 3);
  if (const std::string part = replaced(rest, open_clip_layer_parts); !part.empty()) {
    return {.name = prefix + part};
  }
  static constexpr std::array<std::string_view, 3> together = {"self_attn.q_proj.", "self_attn.k_proj.",
                                                               "self_attn.v_proj."};
  for (std::size_t i = 0; i < together.size(); ++i) {
    if (rest.starts_with(together[i])) {
      return {.name = prefix + "attn.in_proj_" + rest.substr(together[i].size()),
              .part = static_cast<std::int64_t>(i),
              .parts = static_cast<std::int64_t>(together.size())};
    }
  }
  unknown(parameter);
}

bool is_idle_in_single_file(const std::string& name) {
  if (name.starts_with(unet_prefix) || name.starts_with(vae_prefix)) {
    return name.starts_with("first_stage_model.loss.");
  }
  // Anything but the three networks: schedules, the moving average ("model_ema."), counters.
  return name.find("cond_stage_model.") != 0 || name.ends_with("position_ids") || name.ends_with("logit_scale") ||
         name.ends_with("text_projection") || name.ends_with("attn_mask");
}

}  // namespace soup
