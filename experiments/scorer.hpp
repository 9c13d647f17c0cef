// The trained image-text scorer: how well does an image fit a prompt, which context and style does it show, and the
// features that distances between sets of images are taken in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"
#include "data/image.hpp"
#include "experiments/scorer_network.hpp"
#include "trainer/tokenizer.hpp"

namespace soup {

struct ImageScores {
  at::Tensor embeddings;             // float [N, E] of unit length
  at::Tensor features;               // float [N, F], each standardised over real training images
  at::Tensor context_probabilities;  // float [N, contexts]
  at::Tensor style_probabilities;    // float [N, styles]
};

class Scorer {
 public:
  Scorer(std::shared_ptr<ScorerNetwork> network, std::shared_ptr<const Tokenizer> tokenizer);
  // A folder as save() and train_scorer() write it: config.json, model.safetensors, tokenizer/, recipe.json. Throws
  // DataError: files missing, other version, tensors missing, left over or of another shape.
  static Scorer load(const std::filesystem::path& folder);
  // Writes config.json, model.safetensors and tokenizer/ into `folder` (existing).
  void save(const std::filesystem::path& folder) const;

  // RGB images of any sizes: of each the middle square, at the scorer's resolution (square_image.hpp). Throws DataError
  // for images that are not RGB.
  [[nodiscard]] ImageScores score(const std::vector<Image>& images) const;
  // Embeddings [N, E] of unit length.
  [[nodiscard]] at::Tensor embed_texts(const std::vector<std::string>& texts) const;

  [[nodiscard]] const ScorerArchitecture& architecture() const { return network_->architecture(); }
  // SHA-256 of model.safetensors; of an unsaved scorer, zero.
  [[nodiscard]] const Digest& digest() const { return digest_; }

 private:
  std::shared_ptr<ScorerNetwork> network_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Digest digest_;
};

// Position of `word` in `classes`, or -1.
std::int64_t class_index(const std::vector<std::string>& classes, std::string_view word);
// Token ids [N, L].
at::Tensor token_ids(const Tokenizer& tokenizer, const std::vector<std::string>& texts);

}  // namespace soup
