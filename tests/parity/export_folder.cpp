// Writes what tests/parity/check_folder.py compares with diffusers and transformers: model folders, inputs with the
// outputs soup gives, and the token ids of a list of strings.
//
//   export_folder OUTPUT_FOLDER STRINGS.json
//
// OUTPUT_FOLDER/latents is a model whose autoencoder is soup's own, OUTPUT_FOLDER/images one with an AutoencoderKL.
#include <ATen/ATen.h>

#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "trainer/sampler.hpp"
#include "trainer/tensor_file.hpp"

namespace {

soup::ModelConfig autoencoder_kl() {
  soup::ModelConfig config;
  config.autoencoder = "AutoencoderKL";
  config.vae.block_out_channels = {8, 16};
  config.vae.norm_num_groups = 4;
  config.vae.layers_per_block = 1;
  config.vae.sample_size = 32;
  config.unet.in_channels = config.unet.out_channels = config.vae.latent_channels;
  config.unet.upcast_attention = true;
  return config;
}

void export_all(const std::filesystem::path& folder, const std::vector<std::string>& strings,
                soup::ModelConfig config) {
  std::filesystem::create_directories(folder);
  config.unet.block_out_channels = {16, 24, 32};
  config.unet.cross_attention_dim = config.text_encoder.hidden_size = 24;
  config.text_encoder.vocab_size = 1000;
  auto tokenizer = std::make_shared<soup::Tokenizer>(
      soup::Tokenizer::learn(strings, config.text_encoder.vocab_size, config.text_encoder.max_position_embeddings));
  config.text_encoder.vocab_size = tokenizer->vocab_size();
  const soup::DiffusionModel model = soup::make_model(config, tokenizer, soup::SeedTree(11));
  soup::save_model(folder, model, {{"purpose", "parity"}});
  soup::save_unet(folder / "unet_ema", *model.unet, {});

  nlohmann::json ids = nlohmann::json::array();
  for (const std::string& text : strings) {
    ids.push_back(tokenizer->encode(text).ids);
  }
  soup::write_file_atomically(folder / "ids.json", ids.dump());

  const at::NoGradGuard no_grad;
  const std::vector<std::string> prompts = {strings[3], strings[4], strings[9]};
  std::map<std::string, at::Tensor> tensors;
  tensors["text"] = model.encode_text(prompts);
  tensors["empty_text"] = model.encode_text({""});
  const soup::InitialNoise initial = soup::sample_noise(model, soup::SeedTree(12), 0, 3, 32, 32);
  tensors["sample"] = initial.noise;
  tensors["timesteps"] = at::tensor({1, 500, 999}, at::kLong);
  tensors["output"] = model.unet->forward(tensors["sample"], tensors["timesteps"], tensors["text"]);
  soup::SampleOptions options;
  options.sampler.steps = 10;
  tensors["sampled"] = soup::sample_latents(model, prompts, initial, options);
  tensors["images"] = model.autoencoder->decode(tensors["sampled"]);
  tensors["moments"] = model.autoencoder->encode(tensors["images"]);
  soup::write_tensors(folder / "outputs.safetensors", tensors);
  soup::write_file_atomically(folder / "prompts.json", nlohmann::json(prompts).dump());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: export_folder OUTPUT_FOLDER STRINGS.json\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    const auto strings = nlohmann::json::parse(soup::read_file(argv[2])).get<std::vector<std::string>>();
    export_all(folder / "latents", strings, {});  // the defaults: three levels, linear projections, space to depth
    export_all(folder / "images", strings, autoencoder_kl());
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
