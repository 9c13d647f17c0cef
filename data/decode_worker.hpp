// One process that decodes images, so that a picture which crashes, hangs or eats memory takes no training with it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/decode_pool.hpp"

namespace soup {

// The parent's side of one such process. Not thread-safe.
class DecodeWorker {
 public:
  using Clock = std::chrono::steady_clock;

  // Starts the process; results take at most `image_bytes`. Throws DataError.
  DecodeWorker(const DecodeOptions& options, std::uint64_t image_bytes);
  ~DecodeWorker();
  DecodeWorker(const DecodeWorker&) = delete;
  DecodeWorker& operator=(const DecodeWorker&) = delete;

  [[nodiscard]] int socket() const { return socket_; }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] bool idle() const { return ready_ && !job_; }
  [[nodiscard]] std::optional<std::size_t> job() const { return job_; }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

  // False when the worker has died since its last reply.
  bool give(std::size_t number, const DecodeJob& job, double seconds);

  // Whether the time of what it is doing is up. An image's time is the processor's, so that a busy machine does not
  // change what is imported; one that waits for something (a pipe, a dead file server) has a longer time by the clock.
  bool overdue();

  enum class Progress { none, replied, dead };
  // Takes what has arrived, without waiting; `result` is set when the reply to the job is whole.
  Progress receive(Decoded& result);

  // Ends the process and says how it ended: its own signal if it had already crashed.
  std::string end();

 private:
  // Used by the process so far; 0 when it has ended.
  [[nodiscard]] double processor_seconds() const;

  // Memory that both processes see: pixels go through it.
  std::uint8_t* pixels_ = nullptr;
  std::uint64_t pixel_bytes_;
  pid_t process_ = -1;
  int socket_ = -1;
  bool ready_ = false;
  std::optional<std::size_t> job_;
  double seconds_ = 0.0;
  double processor_started_ = 0.0;
  Clock::time_point started_;
  Clock::time_point deadline_;
  std::vector<std::uint8_t> received_;
};

}  // namespace soup
