// Writes checkpoints on a thread of its own while training goes on. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/log.hpp"
#include "trainer/checkpoint.hpp"

namespace soup {

// How many values the buffers of a checkpoint hold.
struct CheckpointSizes {
  std::size_t weights = 0;
  std::size_t ema = 0;
  std::size_t first_moment = 0;
  std::size_t second_moment = 0;
};

class CheckpointWriter {
 public:
  struct Place {
    std::string title;  // for the log
    std::filesystem::path folder;
    Digest key;
    Digest layout;
    std::uint64_t keep = 2;
  };
  CheckpointWriter(Place place, const CheckpointSizes& sizes, Log& log);
  // Waits for the write that is on its way; its error is lost, so finish() first.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Lets `fill` copy the values, and writes them while the caller goes on. Waits for the write before this one, and
  // throws its error, a DataError where it is the file system's.
  void write(const TrainClock& clock, const std::function<void(const TrainBuffers&)>& fill);
  // Waits until all is written. Throws as write().
  void finish();

 private:
  struct Written {
    std::uint64_t images = 0;
    std::uint64_t bytes = 0;
    double seconds = 0.0;
  };

  Place place_;
  CheckpointSizes sizes_;
  Log& log_;
  // A copy of the state: made by the first write, since many trainings of a test or of a warm cache write none.
  std::vector<float> weights_;
  std::vector<float> ema_;
  std::vector<float> first_moment_;
  std::vector<float> second_moment_;
  double waited_ = 0.0;  // seconds that the caller spent here for the write on its way
  std::future<Written> on_its_way_;
};

}  // namespace soup
