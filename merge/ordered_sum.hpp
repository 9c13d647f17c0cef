// Sums over a tensor whose bits depend on neither threads nor blocks: strips are summed alone, then in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace soup {

// Takes items numbered 0, 1, 2, ... in any order and gives them on in theirs. Those that come too early wait; with
// blocks handed out in order they are few. One thread at a time.
template <typename Item>
class InOrder {
 public:
  template <typename Use>
  void add(std::uint64_t number, Item item, const Use& use) {
    waiting_.emplace(number, std::move(item));
    for (auto next = waiting_.begin(); next != waiting_.end() && next->first == next_; ++next_) {
      use(next->second);
      next = waiting_.erase(next);
    }
  }

 private:
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, Item> waiting_;
};

// Adds up lists of numbers that come numbered in any order and from any thread.
class OrderedSum {
 public:
  explicit OrderedSum(std::size_t numbers) : totals_(numbers, 0.0) {}

  void add(std::uint64_t number, std::vector<double> values) {
    const std::scoped_lock lock(mutex_);
    order_.add(number, std::move(values), [this](const std::vector<double>& next) {
      for (std::size_t i = 0; i < totals_.size(); ++i) {
        totals_[i] += next[i];
      }
    });
  }

  // Of all lists; only once every number has come.
  [[nodiscard]] const std::vector<double>& totals() const { return totals_; }

 private:
  std::mutex mutex_;
  InOrder<std::vector<double>> order_;
  std::vector<double> totals_;
};

// sum_i a_i b_i, in eight sums of every eighth product, added up in pairs: an order that vector units keep.
double dot(std::span<const double> a, std::span<const double> b);

}  // namespace soup
