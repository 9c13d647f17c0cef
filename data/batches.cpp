#include "data/batches.hpp"

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

}  // namespace soup
