// Predicted model sizes equal those of the networks themselves.
#include "experiments/model_size.hpp"

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"
#include "trainer/model.hpp"

namespace soup {
namespace {

std::uint64_t count(const torch::nn::Module& module) {
  std::uint64_t numbers = 0;
  for (const auto& parameter : module.parameters()) {
    numbers += static_cast<std::uint64_t>(parameter.numel());
  }
  return numbers;
}

// Every weight of the encoder multiplies once at every pixel of its level; attention's products come on top.
double encoder_products(const torch::nn::Module& autoencoder, std::int64_t side, std::int64_t levels) {
  const auto pixels_at = [side](std::int64_t level) { return static_cast<double>((side >> level) * (side >> level)); };
  double products = 0.0;
  for (const auto& parameter : autoencoder.named_parameters()) {
    const std::string& name = parameter.key();
    if ((!name.starts_with("encoder.") && !name.starts_with("quant_conv.")) || parameter.value().dim() < 2) {
      continue;
    }
    std::int64_t level = levels - 1;
    if (name.starts_with("encoder.conv_in.")) {
      level = 0;
    } else if (const std::string blocks = "encoder.down_blocks."; name.starts_with(blocks)) {
      level = std::stoll(name.substr(blocks.size())) + (name.find("downsamplers") == std::string::npos ? 0 : 1);
    }
    products += static_cast<double>(parameter.value().numel()) * pixels_at(level);
    if (name.ends_with("to_q.weight")) {
      products += 2.0 * pixels_at(level) * pixels_at(level) * static_cast<double>(parameter.value().size(0));
    }
  }
  return products;
}

TEST(ModelSize, EqualsTheNetworks) {
  std::vector<ModelConfig> configs(4);
  configs[1].unet.block_out_channels = {16, 32};
  configs[1].unet.down_block_types = {"CrossAttnDownBlock2D", "DownBlock2D"};
  configs[1].unet.up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D"};
  configs[1].unet.layers_per_block = 2;
  configs[1].unet.transformer_layers_per_block = 2;
  configs[2].autoencoder = "identity";
  configs[2].unet.in_channels = 3;
  configs[2].unet.out_channels = 3;
  configs[2].unet.block_out_channels = {32};
  configs[2].unet.down_block_types = {"DownBlock2D"};
  configs[2].unet.up_block_types = {"UpBlock2D"};
  configs[3].autoencoder = "AutoencoderKL";
  configs[3].vae.block_out_channels = {4, 8, 8};
  configs[3].vae.norm_num_groups = 2;
  configs[3].unet.in_channels = 4;
  configs[3].unet.out_channels = 4;
  const std::int64_t factors[] = {2, 2, 1, 4};
  const std::vector<std::string> captions = {"red house", "green tree"};
  for (std::size_t i = 0; i < configs.size(); ++i) {
    ModelConfig& config = configs[i];
    auto tokenizer =
        std::make_shared<Tokenizer>(Tokenizer::learn(captions, 520, config.text_encoder.max_position_embeddings));
    config.text_encoder.vocab_size = tokenizer->vocab_size();
    config.text_encoder.bos_token_id = tokenizer->end_token() - 1;
    config.text_encoder.eos_token_id = tokenizer->end_token();
    const DiffusionModel model = make_model(config, tokenizer, SeedTree(1));
    const ModelSize size = model_size(config);
    EXPECT_EQ(size.unet, count(*model.unet));
    EXPECT_EQ(size.text_encoder, count(*model.text_encoder));

    const test::TemporaryFolder folder;
    save_model(folder.path(), model, {});
    const ModelSize stored = model_size(folder.path());
    EXPECT_EQ(stored.unet, size.unet);
    EXPECT_EQ(stored.sample_size, config.unet.sample_size);
    EXPECT_EQ(stored.first_channels, config.unet.block_out_channels.front());
    EXPECT_EQ(stored.autoencoder, config.autoencoder);
    EXPECT_EQ(stored.factor, factors[i]);
    EXPECT_EQ(stored.tokens, config.text_encoder.max_position_embeddings);
    EXPECT_EQ(stored.text_width, config.text_encoder.hidden_size);
    ASSERT_EQ(stored.encoder.has_value(), i == 3);
    if (stored.encoder) {
      EXPECT_EQ(stored.encoder->weights, count(*model.autoencoder->network()));
      const std::int64_t side = config.unet.sample_size * factors[i];
      EXPECT_DOUBLE_EQ(stored.encoder->products, encoder_products(*model.autoencoder->network(), side, 3));
      EXPECT_EQ(stored.encoder->numbers, static_cast<std::uint64_t>(4 * side * side));
      EXPECT_EQ(stored.encoder->moments, 8);
      EXPECT_EQ(stored.all(), size.all() + stored.encoder->weights);
    }
  }
}

}  // namespace
}  // namespace soup
