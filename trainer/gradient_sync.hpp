// Sums gradients over a group while the backward pass still computes others: slices of the flat gradient buffer go on
// their way as soon as their last gradient is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "launch/communicator.hpp"
#include "trainer/flat_state.hpp"

namespace soup {

class GradientSync {
 public:
  // Both must outlive this. All ranks of `group` construct it alike.
  GradientSync(FlatState& state, Communicator& group, std::int64_t bucket_elements = 0);  // 0: chosen by the size
  ~GradientSync();
  GradientSync(const GradientSync&) = delete;
  GradientSync& operator=(const GradientSync&) = delete;

  // Before the backward pass that completes the gradients: the last one of those whose gradients add up.
  void begin();
  // After it: the gradients are the sums over the group. Throws CommError. Collective, as is the backward pass between.
  void finish();

 private:
  struct Bucket {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::size_t parameters = 0;
    std::size_t missing = 0;  // of them, in this pass
  };
  class Hook;

  void gradient_is_there(std::size_t parameter);
  void start(const Bucket& bucket);
  void learn_order();

  FlatState& state_;
  Communicator& group_;
  // Gradients on a GPU whose group cannot sum there go through memory, after the pass.
  bool overlaps_ = false;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_;  // by parameter
  // Buckets in the order in which they were complete in rank 0's first pass: all ranks start sums in this order.
  std::vector<std::size_t> order_;
  std::vector<std::size_t> completed_;  // in this pass, while there is no order yet
  std::size_t next_ = 0;                // in order_
  std::vector<std::unique_ptr<PendingSum>> pending_;
  std::size_t waited_ = 0;  // of pending_
  bool active_ = false;
};

}  // namespace soup
