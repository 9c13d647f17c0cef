// Computes what tests/parity/check_reading.py compares with diffusers and transformers, from a folder that they wrote:
// text states, the U-Net's output, moments of images, images of latents, and the token ids of a list of strings.
//
//   read_folder MODEL_FOLDER WORK_FOLDER
//
// Reads WORK_FOLDER/inputs.safetensors (sample, timesteps, images, latents), prompts.json and strings.json; writes
// outputs.safetensors, ids.json and remarks.json beside them.
#include <ATen/ATen.h>

#include <exception>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "trainer/model.hpp"
#include "trainer/tensor_file.hpp"

namespace {

std::vector<std::string> read_strings(const std::filesystem::path& path) {
  return nlohmann::json::parse(soup::read_file(path)).get<std::vector<std::string>>();
}

void compute(const std::filesystem::path& folder, const std::filesystem::path& work) {
  const at::NoGradGuard no_grad;
  const soup::DiffusionModel model = soup::load_model(folder);
  const auto inputs = soup::read_tensors(work / "inputs.safetensors");
  const std::vector<std::string> prompts = read_strings(work / "prompts.json");
  std::map<std::string, at::Tensor> outputs;
  outputs["text"] = model.encode_text(prompts);
  outputs["penultimate_text"] = model.encode_text(prompts, nullptr, 2);
  outputs["output"] = model.unet->forward(inputs.at("sample"), inputs.at("timesteps"), outputs["text"]);
  outputs["moments"] = model.autoencoder->encode(inputs.at("images"));
  outputs["decoded"] = model.autoencoder->decode(inputs.at("latents"));
  soup::write_tensors(work / "outputs.safetensors", outputs);
  nlohmann::json ids = nlohmann::json::array();
  for (const std::string& text : read_strings(work / "strings.json")) {
    ids.push_back(model.tokenizer->encode(text).ids);
  }
  soup::write_file_atomically(work / "ids.json", ids.dump());
  soup::write_file_atomically(work / "remarks.json", nlohmann::json(model.remarks).dump());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: read_folder MODEL_FOLDER WORK_FOLDER\n";
    return 2;
  }
  try {
    compute(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
