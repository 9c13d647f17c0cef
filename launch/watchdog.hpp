// Turns a hang into an end: a thread that aborts the job, naming the operation, when a deadline passes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace soup {

class Watchdog {
 public:
  // Deadline 0: never expires. on_expiry gets the name of the operation that hangs, guards from the outside in joined
  // by " > "; it runs on the watchdog's thread, once. Without it: print operation, rank, host and seconds, and end the
  // job with exit code 4. Expiry is noticed within 0.1 s. Where a stop is requested while an operation goes on, and it
  // still does 0.4 s later, that is said on stderr: a launcher that ends a job because one rank died gives the others
  // no more time than to say what they were waiting in.
  explicit Watchdog(std::chrono::seconds deadline, std::function<void(const std::string& operation)> on_expiry = {});
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // While a Guard lives the deadline runs, from its construction; guards nest, and each has its own deadline.
  class Guard {
   public:
    Guard(Watchdog& watchdog, std::string operation);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Watchdog& watchdog_;
    std::uint64_t id_;
  };

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Wraps a communicator so that every collective runs under the watchdog. `name` ("world", "group", "soup") opens the
// operation's text; communicators split off are watched too.
class Communicator;
std::unique_ptr<Communicator> watched(std::unique_ptr<Communicator> inner, std::shared_ptr<Watchdog> watchdog,
                                      std::string name);

}  // namespace soup
