// Everything a trainer needs to go on to the same bits: flat buffers, image clock and loss curve in one safetensors
// file. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "core/digest.hpp"
#include "core/log.hpp"

namespace soup {

// One point of the loss curve.
struct LossPoint {
  std::uint64_t images = 0;
  double loss = 0.0;  // mean over the images since the last point
  double learning_rate = 0.0;
  double held_out_loss = -1.0;  // of the EMA weights; negative: not measured here
};

// The numbers beside the buffers.
struct TrainClock {
  std::uint64_t images = 0;
  std::uint64_t steps = 0;
  double window_loss = 0.0;  // sum over the images since the last point of the curve
  std::uint64_t window_images = 0;
  double seconds = 0.0;  // spent training so far, over all starts
  std::vector<LossPoint> curve;

  // A step over `batch` images was made.
  void add_step(std::int64_t batch);
  // The mean loss of a step over `batch` images: known after the step, and maybe after later ones.
  void add_loss(double loss, std::int64_t batch);
  // Ends the window with a point of the curve, its loss the mean over the window. The losses of all steps are known.
  LossPoint& add_point(double learning_rate);
};

// Whether an image count that went from `before` to `after` passed a multiple of `interval`; never where that is 0.
bool passed(std::uint64_t before, std::uint64_t after, std::uint64_t interval);

struct TrainBuffers {
  std::span<float> weights;
  std::span<float> ema;
  std::span<float> first_moment;
  std::span<float> second_moment;
};

// Writes folder/checkpoint-<images>.safetensors atomically and then removes all but the newest `keep` of this key;
// returns its path. `key` is the stage's, `layout` the digest of the buffers' layout; both are checked on reading.
std::filesystem::path write_checkpoint(const std::filesystem::path& folder, const Digest& key, const Digest& layout,
                                       const TrainClock& clock, const TrainBuffers& buffers, std::uint64_t keep = 2);

// Fills the buffers from the newest checkpoint in `folder` that has this key and layout and whose content matches its
// digest; a torn or broken one is reported and the one before it used. nullopt: start anew.
std::optional<TrainClock> read_checkpoint(const std::filesystem::path& folder, const Digest& key, const Digest& layout,
                                          const TrainBuffers& buffers, Log& log);

// How many images the newest checkpoint's name says, readable or not.
std::optional<std::uint64_t> newest_checkpoint_images(const std::filesystem::path& folder);

// Copies the newest checkpoint file, if any, to another folder.
void keep_newest_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& other);

}  // namespace soup
