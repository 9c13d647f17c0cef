// Blocks of the networks people have, told from tensor names; natural order.
#include "merge/block_names.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace soup {
namespace {

using testing::ElementsAre;
using Names = std::vector<std::string>;

TEST(BlockNames, OfAUNetOfDiffusers) {
  EXPECT_THAT(block_names(Names{"conv_in.weight", "conv_norm_out.bias", "time_embedding.linear_1.weight",
                                "down_blocks.0.resnets.1.conv1.weight",
                                "down_blocks.10.attentions.0.transformer_blocks.0.attn1.to_out.0.bias",
                                "mid_block.resnets.0.conv1.weight", "mid_block.attentions.0.norm.weight",
                                "up_blocks.1.upsamplers.0.conv.weight"}),
              ElementsAre("conv_in", "conv_norm_out", "time_embedding", "down_blocks.0", "down_blocks.10", "mid_block",
                          "mid_block", "up_blocks.1"));
}

TEST(BlockNames, OfATextModel) {
  EXPECT_THAT(block_names(Names{"text_model.embeddings.token_embedding.weight",
                                "text_model.encoder.layers.3.self_attn.k_proj.weight",
                                "text_model.final_layer_norm.bias", "text_projection.weight"}),
              ElementsAre("text_model.embeddings", "text_model.encoder.layers.3", "text_model.final_layer_norm",
                          "text_projection"));
}

TEST(BlockNames, OfALanguageModel) {
  EXPECT_THAT(block_names(Names{"model.embed_tokens.weight", "model.layers.12.mlp.experts.7.up_proj.weight",
                                "model.norm.weight", "lm_head.weight", "transformer.wte.weight",
                                "transformer.h.3.attn.c_attn.bias"}),
              ElementsAre("model.embed_tokens", "model.layers.12", "model.norm", "lm_head", "transformer.wte",
                          "transformer.h.3"));
}

TEST(BlockNames, OfAnAutoencoderAndOfStableDiffusionsOwnNames) {
  EXPECT_THAT(
      block_names(Names{"encoder.conv_in.weight", "encoder.down_blocks.0.resnets.0.conv1.weight",
                        "encoder.mid_block.resnets.0.norm1.weight", "quant_conv.bias",
                        "model.diffusion_model.input_blocks.4.0.in_layers.0.weight",
                        "model.diffusion_model.middle_block.1.norm.weight", "model.diffusion_model.time_embed.2.bias"}),
      ElementsAre("encoder.conv_in", "encoder.down_blocks.0", "encoder.mid_block", "quant_conv",
                  "model.diffusion_model.input_blocks.4", "model.diffusion_model.middle_block",
                  "model.diffusion_model.time_embed"));
}

TEST(BlockNames, OfUnusualNames) {
  EXPECT_THAT(block_names(Names{"a", "0.weight", "layers/2/kernel", "layers/norm", "x..y", ""}),
              ElementsAre("a", "0", "layers/2", "layers", "x", ""));
}

TEST(NaturalOrder, CountsNumbersByValue) {
  Names names{"layers.10.b", "layers.9", "layers.10", "layers.2.a", "conv", "layers.02.a", "layers", "layers.100"};
  std::ranges::sort(names, natural_less);
  EXPECT_THAT(names, ElementsAre("conv", "layers", "layers.02.a", "layers.2.a", "layers.9", "layers.10", "layers.10.b",
                                 "layers.100"));
  for (const std::string& name : names) {
    EXPECT_FALSE(natural_less(name, name));
  }
}

}  // namespace
}  // namespace soup
