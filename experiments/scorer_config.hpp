// What training the image-text scorer is told; torch-free. Defaults stand here and nowhere else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/split.hpp"

namespace soup {

struct ScorerConfig {
  // Image tower: channels at full, 1/2, 1/4, ... resolution. The last is the width of the features that the Frechet and
  // kernel distances are taken in. Multiples of 8 (group norm).
  std::vector<std::int64_t> channels = {16, 32, 64, 128};
  // Text tower (a CLIPTextModel).
  std::int64_t vocab_size = 1600;  // BPE symbols; at least 514
  std::int64_t max_tokens = 24;    // of a caption, start and end included
  std::int64_t text_width = 96;
  std::int64_t text_layers = 2;
  std::int64_t text_heads = 4;
  std::int64_t embedding = 128;  // shared space of both towers

  // The caption's first word is its context when it is one of these.
  std::vector<std::string> contexts = {"actions", "apps",      "categories", "devices", "emblems",
                                       "emotes",  "mimetypes", "places",     "status"};

  std::uint64_t images = 160000;  // images seen in training
  std::int64_t batch = 256;       // also the number of candidates of the contrastive loss
  double learning_rate = 2e-3;
  std::uint64_t warmup_images = 10000;
  double weight_decay = 0.05;
  double style_balance = 0.5;   // 0: styles as often as their images; 1: every style equally often
  double style_dropout = 0.5;   // probability of leaving the style words out of a caption
  double context_weight = 0.2;  // of the context head's cross-entropy in the loss
  double style_weight = 0.2;    // of the style head's
  int shift_pixels = 2;         // augmentation: random shift by up to so many pixels each way

  HeldOut held_out{.fraction = 0.1, .seed = 1};  // caption keys that only test the scorer
};

}  // namespace soup
