// A model and a shard small enough to train in a second, for the trainer's tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/image_size.hpp"
#include "data/shard_file.hpp"
#include "trainer/model.hpp"
#include "trainer/train_config.hpp"
#include "trainer/trainer.hpp"
#include "trainer/training_images.hpp"

namespace soup::test {

// 8 x 8 pixels, identity autoencoder, about 20,000 parameters; the vocabulary is the tokenizer's to set.
ModelConfig tiny_config();
// A model of that shape with weights from SeedTree(1).
DiffusionModel tiny_model(const std::string& prediction_type = "v_prediction");

// The same on latents of an AutoencoderKL of factor 2.
DiffusionModel tiny_model_with_vae(std::uint64_t seed = 1);

// `images` of the sizes in turn: colour and caption ("red", "green", "blue") agree.
void write_tiny_shard(const std::filesystem::path& path, const std::string& name, int images,
                      const std::vector<ImageSize>& sizes = {{8, 8}});
std::shared_ptr<TrainingImages> tiny_images(const std::filesystem::path& path);

// 256 images in batches of 16, everything on: warm-up, decay, clipping, dropout, EMA.
TrainConfig tiny_training();
// An ingredient of that shard; its folder, folder/name, is made.
TrainJob tiny_job(const std::filesystem::path& folder, const std::string& name, const TrainConfig& config);

}  // namespace soup::test
