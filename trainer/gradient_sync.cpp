// Sums gradients over a group while the backward pass still computes others.
#include "trainer/gradient_sync.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <span>

#include "core/error.hpp"

namespace soup {

namespace {

// Small enough that the last sum, which nothing overlaps, is short; large enough that starting one costs nothing
// beside it.
constexpr std::int64_t least_bucket = std::int64_t{1} << 18;
constexpr std::int64_t most_bucket = std::int64_t{1} << 23;
constexpr std::int64_t buckets_wanted = 16;

}  // namespace

class GradientSync::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSync& sync, std::size_t parameter) : sync_(sync), parameter_(parameter) {}
  void operator()(const at::Tensor&) override { sync_.gradient_is_there(parameter_); }

 private:
  GradientSync& sync_;
  std::size_t parameter_;
};

GradientSync::GradientSync(FlatState& state, Communicator& group, std::int64_t bucket_elements)
    : state_(state), group_(group) {
  overlaps_ = group_.size() > 1 && (state_.gradients().is_cpu() || group_.takes_gpu_memory());
  if (!overlaps_) {
    return;
  }
  const auto count = static_cast<std::int64_t>(state_.layout().count());
  const std::int64_t wanted =
      bucket_elements > 0 ? bucket_elements : std::clamp(count / buckets_wanted, least_bucket, most_bucket);
  for (const TensorSlot& slot : state_.layout().slots()) {
    const auto begin = static_cast<std::int64_t>(slot.offset);
    if (buckets_.empty() || buckets_.back().end - buckets_.back().begin >= wanted) {
      buckets_.push_back({begin, begin});
    }
    buckets_.back().end = begin + static_cast<std::int64_t>(slot.count);
    ++buckets_.back().parameters;
    bucket_of_.push_back(buckets_.size() - 1);
  }
  for (std::size_t i = 0; i < bucket_of_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(state_.parameters()[i], std::make_unique<Hook>(*this, i));
  }
}

GradientSync::~GradientSync() {
  for (std::size_t i = 0; i < bucket_of_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(state_.parameters()[i], nullptr);
  }
}

void GradientSync::begin() {
  if (!overlaps_) {
    return;
  }
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.parameters;
  }
  completed_.clear();
  pending_.clear();
  waited_ = 0;
  next_ = 0;
  active_ = true;
}

void GradientSync::gradient_is_there(std::size_t parameter) {
  if (!active_) {
    return;
  }
  const std::size_t number = bucket_of_[parameter];
  Bucket& bucket = buckets_[number];
  SOUP_REQUIRE(bucket.missing > 0, "a gradient is complete twice in one backward pass");
  if (--bucket.missing > 0) {
    return;
  }
  if (order_.empty()) {
    completed_.push_back(number);
    return;
  }
  while (next_ < order_.size() && buckets_[order_[next_]].missing == 0) {
    start(buckets_[order_[next_++]]);
  }
  // MPI gets on with messages only inside its calls.
  while (waited_ < pending_.size() && pending_[waited_]->test()) {
    ++waited_;
  }
}

void GradientSync::start(const Bucket& bucket) {
  const std::span<float> values =
      flat_span(state_.gradients())
          .subspan(static_cast<std::size_t>(bucket.begin), static_cast<std::size_t>(bucket.end - bucket.begin));
  pending_.push_back(group_.start_sum(values));
}

void GradientSync::finish() {
  if (!overlaps_) {
    state_.sum_gradients(group_);
    return;
  }
  SOUP_REQUIRE(active_, "a gradient sum is finished that was not begun");
  active_ = false;
  if (order_.empty()) {
    learn_order();
  }
  // A parameter that took no part in the pass has a gradient of zero, which completes no bucket.
  for (; next_ < order_.size(); ++next_) {
    start(buckets_[order_[next_]]);
  }
  for (const std::unique_ptr<PendingSum>& sum : pending_) {
    sum->wait();
  }
  pending_.clear();
}

void GradientSync::learn_order() {
  std::vector<std::int64_t> order(completed_.begin(), completed_.end());
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    if (std::ranges::find(completed_, i) == completed_.end()) {
      order.push_back(static_cast<std::int64_t>(i));
    }
  }
  group_.broadcast(std::as_writable_bytes(std::span(order)), 0);
  order_.assign(order.begin(), order.end());
}

}  // namespace soup
