// Writes checkpoints on a thread of its own while training goes on.
#include "trainer/checkpoint_writer.hpp"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

namespace soup {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

CheckpointWriter::CheckpointWriter(Place place, const CheckpointSizes& sizes, Log& log)
    : place_(std::move(place)), sizes_(sizes), log_(log) {}

CheckpointWriter::~CheckpointWriter() {
  if (on_its_way_.valid()) {
    on_its_way_.wait();
  }
}

void CheckpointWriter::finish() {
  if (!on_its_way_.valid()) {
    return;
  }
  const Clock::time_point start = Clock::now();
  const Written written = on_its_way_.get();
  waited_ += seconds_since(start);
  log_.event("checkpoint", {{"stage", place_.title},
                            {"images", written.images},
                            {"bytes", written.bytes},
                            {"seconds", written.seconds},
                            {"waited_seconds", waited_}});
  waited_ = 0.0;
}

void CheckpointWriter::write(const TrainClock& clock, const std::function<void(const TrainBuffers&)>& fill) {
  finish();
  const Clock::time_point start = Clock::now();
  weights_.resize(sizes_.weights);
  ema_.resize(sizes_.ema);
  first_moment_.resize(sizes_.first_moment);
  second_moment_.resize(sizes_.second_moment);
  const TrainBuffers buffers{weights_, ema_, first_moment_, second_moment_};
  fill(buffers);
  on_its_way_ = std::async(std::launch::async, [this, clock, buffers]() -> Written {
    const Clock::time_point begin = Clock::now();
    const std::filesystem::path path =
        write_checkpoint(place_.folder, place_.key, place_.layout, clock, buffers, place_.keep);
    return {clock.images, std::filesystem::file_size(path), seconds_since(begin)};
  });
  waited_ = seconds_since(start);
}

}  // namespace soup
