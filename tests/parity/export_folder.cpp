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
#include "core/safetensors.hpp"
#include "trainer/sampler.hpp"

namespace {

void write_tensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> kept;
  std::vector<soup::TensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = kept.emplace_back(tensor.contiguous());
    const auto dtype = values.scalar_type() == at::kLong ? soup::DType::i64 : soup::DType::f32;
    sources.push_back(
        {name, dtype, values.sizes().vec(), {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}});
  }
  soup::write_safetensors(path, sources, {});
}

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
  tensors["sample"] = soup::sample_noise(model, soup::SeedTree(12), 0, 3, 32);
  tensors["timesteps"] = at::tensor({1, 500, 999}, at::kLong);
  tensors["output"] = model.unet->forward(tensors["sample"], tensors["timesteps"], tensors["text"]);
  soup::SampleOptions options;
  options.steps = 10;
  const soup::Denoiser denoiser = [&model](const at::Tensor& latents, std::int64_t timestep, const at::Tensor& text) {
    return model.unet->forward(latents, at::full({latents.size(0)}, timestep, at::kLong), text);
  };
  tensors["sampled"] =
      soup::ddim(denoiser, *model.schedule, tensors["sample"], tensors["text"], tensors["empty_text"], options);
  write_tensors(folder / "outputs.safetensors", tensors);
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
