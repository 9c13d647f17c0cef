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

// The order where images have several sizes: every batch is of one bucket, the one that is furthest behind its share of
// the images (so that none is seen more often than another by more than a batch), and takes the next images of that
// bucket's own SampleOrder. With one bucket it is SampleOrder.
class BucketOrder {
 public:
  // sizes: images of each bucket, at least one each; images are numbered bucket by bucket. batch: of the whole group.
  BucketOrder(SeedTree seeds, const std::string& scope, std::vector<std::uint64_t> sizes, std::uint64_t batch);

  [[nodiscard]] std::uint64_t at(std::uint64_t image_counter);

 private:
  void go_to(std::uint64_t batch_number);

  std::vector<std::uint64_t> sizes_;
  std::vector<std::uint64_t> firsts_;  // number of each bucket's first image
  std::vector<SampleOrder> orders_;
  std::uint64_t images_ = 0;
  std::uint64_t batch_;
  std::vector<std::uint64_t> batches_before_;  // of each bucket, before batch number next_
  std::uint64_t next_ = 0;
  std::size_t current_ = 0;  // bucket of batch number next_ - 1
};

}  // namespace soup
