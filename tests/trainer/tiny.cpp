// A model and a shard small enough to train in a second.
#include "tests/trainer/tiny.hpp"

#include <array>

#include "data/shard_writer.hpp"

namespace soup::test {

ModelConfig tiny_config() {
  ModelConfig config;
  config.autoencoder = "identity";
  config.unet.sample_size = 8;
  config.unet.in_channels = 3;
  config.unet.out_channels = 3;
  config.unet.down_block_types = {"DownBlock2D", "CrossAttnDownBlock2D"};
  config.unet.up_block_types = {"CrossAttnUpBlock2D", "UpBlock2D"};
  config.unet.block_out_channels = {8, 16};
  config.unet.attention_head_dim = 2;
  config.unet.cross_attention_dim = 16;
  config.unet.norm_num_groups = 4;
  config.text_encoder.hidden_size = 16;
  config.text_encoder.intermediate_size = 32;
  config.text_encoder.num_hidden_layers = 1;
  config.text_encoder.num_attention_heads = 2;
  config.text_encoder.max_position_embeddings = 8;
  return config;
}

DiffusionModel tiny_model(const std::string& prediction_type) {
  ModelConfig config = tiny_config();
  config.schedule.prediction_type = prediction_type;
  const std::vector<std::string> captions = {"red", "green", "blue", "square style"};
  auto tokenizer =
      std::make_shared<Tokenizer>(Tokenizer::learn(captions, 540, config.text_encoder.max_position_embeddings));
  config.text_encoder.vocab_size = tokenizer->vocab_size();
  config.text_encoder.eos_token_id = tokenizer->end_token();
  return make_model(config, tokenizer, SeedTree(1));
}

DiffusionModel tiny_model_with_vae(std::uint64_t seed) {
  ModelConfig config = tiny_config();
  config.autoencoder = "AutoencoderKL";
  config.vae.sample_size = 8;
  config.vae.block_out_channels = {8, 16};
  config.vae.layers_per_block = 1;
  config.vae.norm_num_groups = 4;
  config.unet.sample_size = 4;
  config.unet.in_channels = config.unet.out_channels = 4;
  const std::shared_ptr<Tokenizer> tokenizer = tiny_model().tokenizer;
  config.text_encoder.vocab_size = tokenizer->vocab_size();
  return make_model(config, tokenizer, SeedTree(seed));
}

void write_tiny_shard(const std::filesystem::path& path, const std::string& name, int images,
                      const std::vector<ImageSize>& sizes) {
  static const std::array<std::string, 3> colours = {"red", "green", "blue"};
  ShardWriter writer(path, {name, "drawn by a test", "", "public domain"}, sha256("drawn by a test"));
  for (int i = 0; i < images; ++i) {
    const std::size_t colour = static_cast<std::size_t>(i) % colours.size();
    Sample sample;
    const auto [height, width] = sizes[static_cast<std::size_t>(i) % sizes.size()];
    sample.image = {height, width, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(height) * width * 3, 255)};
    for (int pixel = 0; pixel < height * width; ++pixel) {
      for (std::size_t channel = 0; channel < 3; ++channel) {
        const int shade = channel == colour ? 250 : (i * 7 + pixel) % 64;
        sample.image.pixels[static_cast<std::size_t>(pixel) * 3 + channel] = static_cast<std::uint8_t>(shade);
      }
    }
    sample.caption = colours[colour];
    sample.key = colours[colour] + std::to_string(i);
    sample.style = name;
    sample.source = std::to_string(i);
    writer.append(sample);
  }
  writer.finish();
}

std::shared_ptr<TrainingImages> tiny_images(const std::filesystem::path& path) {
  auto shard = std::make_shared<ShardFile>(path);
  std::vector<std::uint64_t> all(shard->size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = i;
  }
  auto images = std::make_shared<TrainingImages>();
  images->add(std::move(shard), std::move(all));
  return images;
}

TrainConfig tiny_training() {
  TrainConfig config;
  config.images = 256;
  config.batch = 16;
  config.learning_rate = 2e-3;
  config.warmup_images = 32;
  config.ema_halflife_images = 64;
  config.checkpoint_images = 64;
  config.log_images = 32;
  config.train_text_encoder = true;
  return config;
}

TrainJob tiny_job(const std::filesystem::path& folder, const std::string& name, const TrainConfig& config) {
  TrainJob job;
  job.title = "ingredient " + name;
  job.scope = "squares";
  job.config = config;
  job.seeds = SeedTree(7);
  job.key = sha256("key");
  job.folder = folder / name;
  std::filesystem::create_directories(job.folder);
  return job;
}

}  // namespace soup::test
