// The scorer's networks: a small convolutional image tower with two linear heads and a CLIP text tower, meeting in one
// embedding space (Radford et al. 2021, section 2.3).
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/clip_text.hpp"
#include "trainer/layers.hpp"
#include "trainer/model_config.hpp"

namespace soup {

// All that decides the networks' shapes; config.json of a scorer's folder.
struct ScorerArchitecture {
  int resolution = 32;                 // pixels of the images it was trained on
  std::vector<std::int64_t> channels;  // of the image tower, see ScorerConfig
  std::int64_t embedding = 128;
  TextEncoderConfig text;
  std::vector<std::string> contexts;  // classes of the context head
  std::vector<std::string> styles;    // classes of the style head

  [[nodiscard]] nlohmann::json to_json() const;
  // Throws DataError naming the key; `where` is the file, for messages.
  static ScorerArchitecture from_json(const nlohmann::json& json, const std::string& where);
};

class ScorerNetwork : public torch::nn::Module {
 public:
  // Parameters are uninitialised but for the temperature: training or a file fills them.
  explicit ScorerNetwork(const ScorerArchitecture& architecture);
  ~ScorerNetwork() override;

  struct ImageOutput {
    at::Tensor features;    // [N, F] average-pooled, not standardised
    at::Tensor embeddings;  // [N, E] of unit length
    at::Tensor contexts;    // [N, contexts] logits
    at::Tensor styles;      // [N, styles] logits
  };
  // images: float [N, 3, R, R] in [-1, 1].
  ImageOutput forward_images(const at::Tensor& images);
  // ids [N, L] -> embeddings [N, E] of unit length, read at each caption's first end token.
  at::Tensor forward_texts(const at::Tensor& ids);
  // Logarithm of the inverse temperature, a trained parameter [1].
  [[nodiscard]] const at::Tensor& logit_scale() const { return logit_scale_; }
  // Mean and standard deviation [F] of the features over the scorer's training images; set at the end of training.
  at::Tensor& feature_mean() { return feature_mean_; }
  at::Tensor& feature_deviation() { return feature_deviation_; }
  [[nodiscard]] const ScorerArchitecture& architecture() const { return architecture_; }

 private:
  struct Stage;

  ScorerArchitecture architecture_;
  std::shared_ptr<Conv2d> stem_;
  std::shared_ptr<ModuleSequence<Stage>> stages_;
  std::shared_ptr<GroupNorm> final_norm_;
  std::shared_ptr<Linear> image_projection_;
  std::shared_ptr<Linear> text_projection_;
  std::shared_ptr<Linear> context_head_;
  std::shared_ptr<Linear> style_head_;
  std::shared_ptr<CLIPTextModel> text_;
  at::Tensor logit_scale_;
  at::Tensor feature_mean_, feature_deviation_;
};

}  // namespace soup
