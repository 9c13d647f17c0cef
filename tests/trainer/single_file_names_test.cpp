// Names of the original single-file layout, as they stand in the published files of Stable Diffusion 1.5 and 2.1.
#include "trainer/single_file_names.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace soup {
namespace {

UNetConfig full_unet() {
  UNetConfig unet;
  unet.down_block_types = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"};
  unet.up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
  unet.block_out_channels = {320, 640, 1280, 1280};
  unet.layers_per_block = 2;
  return unet;
}

TEST(SingleFileNames, UNet) {
  const SingleFileNames names(full_unet(), {}, false);
  const std::pair<const char*, const char*> known[] = {
      {"time_embedding.linear_2.weight", "time_embed.2.weight"},
      {"conv_in.bias", "input_blocks.0.0.bias"},
      {"down_blocks.0.resnets.0.norm1.weight", "input_blocks.1.0.in_layers.0.weight"},
      {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
       "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"},
      {"down_blocks.0.resnets.1.time_emb_proj.bias", "input_blocks.2.0.emb_layers.1.bias"},
      {"down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"},
      {"down_blocks.1.resnets.0.conv_shortcut.weight", "input_blocks.4.0.skip_connection.weight"},
      {"down_blocks.2.downsamplers.0.conv.bias", "input_blocks.9.0.op.bias"},
      {"down_blocks.3.resnets.1.conv2.weight", "input_blocks.11.0.out_layers.3.weight"},
      {"mid_block.resnets.0.norm2.bias", "middle_block.0.out_layers.0.bias"},
      {"mid_block.attentions.0.proj_in.weight", "middle_block.1.proj_in.weight"},
      {"mid_block.resnets.1.conv1.weight", "middle_block.2.in_layers.2.weight"},
      {"up_blocks.0.resnets.0.conv1.weight", "output_blocks.0.0.in_layers.2.weight"},
      {"up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"},
      {"up_blocks.1.attentions.2.norm.weight", "output_blocks.5.1.norm.weight"},
      {"up_blocks.1.upsamplers.0.conv.bias", "output_blocks.5.2.conv.bias"},
      {"up_blocks.2.upsamplers.0.conv.weight", "output_blocks.8.2.conv.weight"},
      {"up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj.weight",
       "output_blocks.11.1.transformer_blocks.0.ff.net.0.proj.weight"},
      {"conv_norm_out.weight", "out.0.weight"},
      {"conv_out.weight", "out.2.weight"},
  };
  for (const auto& [ours, theirs] : known) {
    EXPECT_EQ(names.unet(ours).name, std::string("model.diffusion_model.") + theirs) << ours;
    EXPECT_FALSE(names.unet(ours).is_convolution);
  }
  EXPECT_THROW((void)names.unet("down_blocks.4.resnets.0.conv1.weight"), InvariantError);
  EXPECT_THROW((void)names.unet("down_blocks.x.resnets.0.conv1.weight"), InvariantError);
  EXPECT_THROW((void)names.unet("class_embedding.weight"), InvariantError);
}

TEST(SingleFileNames, Autoencoder) {
  const SingleFileNames names(full_unet(), {}, false);
  const std::pair<const char*, const char*> known[] = {
      {"encoder.conv_in.weight", "encoder.conv_in.weight"},
      {"encoder.down_blocks.1.resnets.0.conv_shortcut.bias", "encoder.down.1.block.0.nin_shortcut.bias"},
      {"encoder.down_blocks.2.downsamplers.0.conv.weight", "encoder.down.2.downsample.conv.weight"},
      {"encoder.mid_block.resnets.1.norm1.weight", "encoder.mid.block_2.norm1.weight"},
      {"encoder.mid_block.attentions.0.group_norm.weight", "encoder.mid.attn_1.norm.weight"},
      {"encoder.conv_norm_out.bias", "encoder.norm_out.bias"},
      {"decoder.up_blocks.0.resnets.2.conv1.weight", "decoder.up.3.block.2.conv1.weight"},
      {"decoder.up_blocks.0.upsamplers.0.conv.weight", "decoder.up.3.upsample.conv.weight"},
      {"decoder.up_blocks.3.resnets.0.norm2.weight", "decoder.up.0.block.0.norm2.weight"},
      {"decoder.mid_block.attentions.0.to_q.bias", "decoder.mid.attn_1.q.bias"},
      {"quant_conv.weight", "quant_conv.weight"},
      {"post_quant_conv.bias", "post_quant_conv.bias"},
  };
  for (const auto& [ours, theirs] : known) {
    EXPECT_EQ(names.vae(ours).name, std::string("first_stage_model.") + theirs) << ours;
    EXPECT_FALSE(names.vae(ours).is_convolution) << ours;
  }
  const SingleFilePlace projection = names.vae("decoder.mid_block.attentions.0.to_out.0.weight");
  EXPECT_EQ(projection.name, "first_stage_model.decoder.mid.attn_1.proj_out.weight");
  EXPECT_TRUE(projection.is_convolution);
  EXPECT_THROW((void)names.vae("encoder.mid_block.attentions.0.to_x.weight"), InvariantError);
}

TEST(SingleFileNames, TextEncoders) {
  const SingleFileNames clip(full_unet(), {}, false);
  EXPECT_EQ(clip.text_encoder("encoder.layers.11.self_attn.k_proj.weight").name,
            "cond_stage_model.transformer.text_model.encoder.layers.11.self_attn.k_proj.weight");
  const SingleFileNames open_clip(full_unet(), {}, true);
  const std::pair<const char*, const char*> known[] = {
      {"embeddings.token_embedding.weight", "token_embedding.weight"},
      {"embeddings.position_embedding.weight", "positional_embedding"},
      {"encoder.layers.22.layer_norm2.bias", "transformer.resblocks.22.ln_2.bias"},
      {"encoder.layers.0.mlp.fc1.weight", "transformer.resblocks.0.mlp.c_fc.weight"},
      {"encoder.layers.0.self_attn.out_proj.bias", "transformer.resblocks.0.attn.out_proj.bias"},
      {"final_layer_norm.weight", "ln_final.weight"},
  };
  for (const auto& [ours, theirs] : known) {
    EXPECT_EQ(open_clip.text_encoder(ours).name, std::string("cond_stage_model.model.") + theirs) << ours;
  }
  const SingleFilePlace key = open_clip.text_encoder("encoder.layers.3.self_attn.k_proj.bias");
  EXPECT_EQ(key.name, "cond_stage_model.model.transformer.resblocks.3.attn.in_proj_bias");
  EXPECT_EQ(key.part, 1);
  EXPECT_EQ(key.parts, 3);
  EXPECT_THROW((void)open_clip.text_encoder("text_projection.weight"), InvariantError);
}

TEST(SingleFileNames, WhatOriginalFilesHoldBesideTheWeights) {
  for (const char* idle : {"alphas_cumprod", "model_ema.decay", "model_ema.diffusion_modelout2weight",
                           "cond_stage_model.transformer.text_model.embeddings.position_ids",
                           "cond_stage_model.model.logit_scale", "cond_stage_model.model.text_projection"}) {
    EXPECT_TRUE(is_idle_in_single_file(idle)) << idle;
  }
  for (const char* weight : {"model.diffusion_model.out.2.weight", "first_stage_model.quant_conv.bias",
                             "cond_stage_model.model.ln_final.weight"}) {
    EXPECT_FALSE(is_idle_in_single_file(weight)) << weight;
  }
}

}  // namespace
}  // namespace soup
