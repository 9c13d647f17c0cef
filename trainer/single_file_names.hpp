// The names that tensors have in the original single-file layout of Stable Diffusion (CompVis and Stability AI, read by
// AUTOMATIC1111's program, ComfyUI and diffusers' from_single_file); torch-free.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/model_config.hpp"

namespace soup {

// Where the values of one parameter lie in the file.
struct SingleFilePlace {
  std::string name;
  std::int64_t part = 0;        // which of `parts` equal parts along the first dimension (query, key, value in one)
  std::int64_t parts = 1;       // tensor
  bool is_convolution = false;  // a matrix [a, b] kept as a 1 x 1 convolution's [a, b, 1, 1]
};

class SingleFileNames {
 public:
  // open_clip: the text encoder has OpenCLIP's names, as in Stable Diffusion 2, instead of transformers' (1.x).
  SingleFileNames(UNetConfig unet, AutoencoderKLConfig vae, bool open_clip);

  // Of a parameter's name as diffusers and transformers (without "text_model.") have it. Throws InvariantError for a
  // name that no such network has.
  [[nodiscard]] SingleFilePlace unet(const std::string& parameter) const;
  [[nodiscard]] SingleFilePlace vae(const std::string& parameter) const;
  [[nodiscard]] SingleFilePlace text_encoder(const std::string& parameter) const;

 private:
  [[nodiscard]] std::int64_t input_block(std::int64_t level, std::int64_t layer) const;
  [[nodiscard]] std::int64_t output_block(std::int64_t level, std::int64_t layer) const;

  UNetConfig unet_;
  AutoencoderKLConfig vae_;
  bool open_clip_;
};

// Whether a file's tensor is no weight of these networks although original files hold it: constants of the noise
// schedule, counters, a training's moving average, what the text encoder does not need for its states.
bool is_idle_in_single_file(const std::string& name);

}  // namespace soup
