// The order in which images are trained on: a pure function of seed, scope and the global image counter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/random.hpp"

namespace soup {

// Epoch e visits every image once in the permutation drawn from stream("order", scope, e); image counter c is item c %
// n of epoch c / n.
class SampleOrder {
 public:
  SampleOrder(SeedTree seeds, std::string scope, std::uint64_t images);

  [[nodiscard]] std::uint64_t at(std::uint64_t image_counter);

 private:
  SeedTree seeds_;
  std::string scope_;
  std::uint64_t images_;
  std::uint64_t epoch_ = UINT64_MAX;
  std::vector<std::uint32_t> order_;
};

}  // namespace soup
