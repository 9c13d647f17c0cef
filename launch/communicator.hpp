// Collective calls on spans, the only way ranks talk: Self (one rank), MPI and NCCL stand behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace soup {

// A sum that is on its way while the caller goes on with something else.
class PendingSum {
 public:
  virtual ~PendingSum() = default;
  PendingSum(const PendingSum&) = delete;
  PendingSum& operator=(const PendingSum&) = delete;

  // Lets it get on; some backends do nothing else for it. True when it is there.
  virtual bool test() = 0;
  // The values are the sums from here on: for the caller, or for what is queued on the GPU after this. Throws
  // CommError.
  virtual void wait() = 0;

 protected:
  PendingSum() = default;
};

// Every call is collective over all ranks of the communicator and must be made in the same order everywhere, from one
// thread. Failures throw CommError naming the call. Buffers of different ranks must have equal sizes.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual std::string_view backend() const = 0;  // "self", "mpi", "nccl"

  // Whether spans may lie in the memory of this rank's GPU; work on them is then queued, and not waited for.
  [[nodiscard]] virtual bool takes_gpu_memory() const { return false; }

  // In place.
  virtual void all_reduce_sum(std::span<float> values) = 0;
  virtual void all_reduce_sum(std::span<double> values) = 0;
  virtual void all_reduce_sum(std::span<std::int64_t> values) = 0;
  // all_reduce_sum that does not wait; `values` stay untouched until wait(). Several may be on their way, waited for in
  // the order of their start. That all ranks start sums of the same lengths in the same order is the caller's part: it
  // is not checked, so that starting costs nothing.
  [[nodiscard]] virtual std::unique_ptr<PendingSum> start_sum(std::span<float> values) = 0;
  virtual void all_reduce_max(std::span<double> values) = 0;
  virtual void all_reduce_max(std::span<std::int64_t> values) = 0;
  // Rank r's `mine` lands at all[r * mine.size()]; all.size() == size() * mine.size().
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  virtual void barrier() = 0;
  // Ranks with equal colour form a communicator, ordered by key, then rank.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int colour, int key) = 0;

 protected:
  Communicator() = default;
};

// One process, no library.
std::unique_ptr<Communicator> make_self_communicator();

// Text of any length from `root` to everyone.
std::string broadcast_text(Communicator& comm, std::string text, int root);
// Everybody's text, by rank.
std::vector<std::string> all_gather_text(Communicator& comm, std::string_view text);

// Agreement on failure, before a collective: if any rank passes an exception, every rank throws the error of the lowest
// such rank (same type, message and exit code, prefixed "rank r: " where it was another's). Collective.
void agree(Communicator& comm, const std::exception_ptr& mine);

// Runs `body` and agrees on its failure, so that either all ranks return or all throw.
template <typename Body>
auto agreed(Communicator& comm, Body&& body) -> decltype(body()) {
  using Result = decltype(body());
  std::exception_ptr failure;
  if constexpr (std::is_void_v<Result>) {
    try {
      body();
    } catch (...) {
      failure = std::current_exception();
    }
    agree(comm, failure);
  } else {
    std::optional<Result> result;
    try {
      result.emplace(body());
    } catch (...) {
      failure = std::current_exception();
    }
    agree(comm, failure);
    return std::move(*result);
  }
}

}  // namespace soup
