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
  }
}

}  // namespace
}  // namespace soup
