// A shard's images and captions through a model's encoders, once for all trainings: kept in the shard file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/log.hpp"
#include "data/shard_content.hpp"
#include "trainer/model.hpp"

namespace soup {

// Of an autoencoder's and a text encoder's configuration and weights: which encoder made a shard's numbers. "" for an
// autoencoder without weights.
std::string autoencoder_digest(const DiffusionModel& model);
std::string text_encoder_digest(const DiffusionModel& model, std::int64_t clip_skip);

struct EncodeOptions {
  FloatType type = FloatType::f16;
  std::int64_t batch = 1;      // images at a time; an autoencoder's inner images are a hundred times as large
  std::int64_t clip_skip = 1;  // as TrainConfig::clip_skip
};

struct EncodeReport {
  std::uint64_t images = 0;
  std::uint64_t texts = 0;      // different ones, the empty one (number 0) included
  std::uint64_t truncated = 0;  // of them, longer than the text encoder takes
  bool replaced = false;        // the shard held what another model's encoders had made
  double seconds = 0.0;         // of this call
};

// Writes `output`, which may be the shard's own path: the shard with the moments of its images (where the model's
// autoencoder has weights) and the states of its captions, with and without style word. Memory does not grow with the
// images but for about 60 bytes for every different text. Interrupted, by a signal or killed, it goes on where it was
// when called again with the same shard, model and options: what is done lies in `<output>.encoding`. Throws DataError,
// also for numbers that float16 cannot hold, and Interrupted.
EncodeReport encode_shard(const std::filesystem::path& shard, const DiffusionModel& model, const EncodeOptions& options,
                          const std::filesystem::path& output, Log& log);

}  // namespace soup
