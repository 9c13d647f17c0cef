// Writes what tests/parity/check_folder.py compares with diffusers and transformers: a model folder, inputs with the
// outputs soup gives, and the token ids of a list of strings.
//
//   export_folder OUTPUT_FOLDER STRINGS.json
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

void export_all(const std::filesystem::path& folder, const std::filesystem::path& strings_file) {
  const auto strings = nlohmann::json::parse(soup::read_file(strings_file)).get<std::vector<std::string>>();
  soup::ModelConfig config;  // the defaults: three levels, linear projections, space to depth
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
    export_all(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
