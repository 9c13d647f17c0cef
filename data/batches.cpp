#include "data/batches.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.hpp"

namespace soup {

SampleOrder::SampleOrder(SeedTree seeds, std::string scope, std::uint64_t images)
    : seeds_(seeds), scope_(std::move(scope)), images_(images) {
  SOUP_REQUIRE(images > 0 && images <= std::numeric_limits<std::uint32_t>::max(),
               "an order needs 1 to 2^32 - 1 images, got " + std::to_string(images));
}

std::uint64_t SampleOrder::at(std::uint64_t image_counter) {
  const std::uint64_t epoch = image_counter / images_;
  if (epoch != epoch_ || order_.empty()) {
    // Fisher-Yates (Durstenfeld 1964), one stream per epoch, so any epoch can be drawn without the ones before it.
    RandomStream stream = seeds_.stream("order", scope_, epoch);
    order_.resize(images_);
    std::iota(order_.begin(), order_.end(), 0U);
    for (std::uint64_t last = images_ - 1; last > 0; --last) {
      std::swap(order_[last], order_[stream.below(last + 1)]);
    }
    epoch_ = epoch;
  }
  return order_[image_counter % images_];
}

BucketOrder::BucketOrder(SeedTree seeds, const std::string& scope, std::vector<std::uint64_t> sizes,
                         std::uint64_t batch)
    : sizes_(std::move(sizes)), batch_(batch), batches_before_(sizes_.size(), 0) {
  SOUP_REQUIRE(!sizes_.empty() && batch_ > 0, "an order needs a bucket and a batch");
  for (std::size_t bucket = 0; bucket < sizes_.size(); ++bucket) {
    firsts_.push_back(images_);
    images_ += sizes_[bucket];
    orders_.emplace_back(seeds, sizes_.size() == 1 ? scope : scope + "/" + std::to_string(bucket), sizes_[bucket]);
  }
}

// Sets current_ to the bucket of this batch, and batches_before_ to what comes before the one behind it.
void BucketOrder::go_to(std::uint64_t batch_number) {
  if (batch_number + 1 < next_) {
    std::ranges::fill(batches_before_, 0);
    next_ = 0;
  }
  for (; next_ <= batch_number; ++next_) {
    // Its share of the batches so far, this one included, less what it had; both times the number of all images.
    const auto lag = [this](std::size_t bucket) {
      return static_cast<std::int64_t>(sizes_[bucket] * (next_ + 1)) -
             static_cast<std::int64_t>(batches_before_[bucket] * images_);
    };
    current_ = 0;
    for (std::size_t bucket = 1; bucket < sizes_.size(); ++bucket) {
      if (lag(bucket) > lag(current_)) {
        current_ = bucket;
      }
    }
    ++batches_before_[current_];
  }
}

std::uint64_t BucketOrder::at(std::uint64_t image_counter) {
  if (sizes_.size() == 1) {
    return orders_.front().at(image_counter);
  }
  go_to(image_counter / batch_);
  const std::uint64_t place = (batches_before_[current_] - 1) * batch_ + image_counter % batch_;
  return firsts_[current_] + orders_[current_].at(place);
}

}  // namespace soup
