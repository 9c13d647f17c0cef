// Sums over a tensor whose bits depend on neither threads nor blocks: strips are summed alone, then in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

namespace soup {

// Adds up lists of numbers that come numbered 0, 1, 2, ... in any order and from any thread. Lists that came too early
// wait; with blocks handed out in order those are few.
class OrderedSum {
 public:
  explicit OrderedSum(std::size_t numbers) : totals_(numbers, 0.0) {}

  void add(std::uint64_t number, std::vector<double> values) {
    const std::scoped_lock lock(mutex_);
    waiting_.emplace(number, std::move(values));
    for (auto next = waiting_.begin(); next != waiting_.end() && next->first == next_; next = waiting_.erase(next)) {
      for (std::size_t i = 0; i < totals_.size(); ++i) {
        totals_[i] += next->second[i];
      }
      ++next_;
    }
  }

  // Of all lists; only once every number has come.
  [[nodiscard]] const std::vector<double>& totals() const { return totals_; }

 private:
  std::mutex mutex_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::vector<double>> waiting_;
  std::vector<double> totals_;
};

// sum_i a_i b_i, in eight sums of every eighth product, added up in pairs: an order that vector units keep.
double dot(std::span<const double> a, std::span<const double> b);

}  // namespace soup
