#include "data/aspect_buckets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>

#include "core/error.hpp"

namespace soup {
namespace {

constexpr std::size_t most_buckets = 256;  // two open files each while a shard is made

// exp |log(image ratio / bucket ratio)| as a fraction of whole numbers, 1 or more.
struct Distance {
  std::uint64_t above = 0;
  std::uint64_t below = 1;
  Distance(ImageSize image, ImageSize bucket) {
    const std::uint64_t a = static_cast<std::uint64_t>(image.width) * static_cast<std::uint64_t>(bucket.height);
    const std::uint64_t b = static_cast<std::uint64_t>(image.height) * static_cast<std::uint64_t>(bucket.width);
    above = std::max(a, b);
    below = std::min(a, b);
  }
  // Less than 0, 0 or more, as this distance is shorter, the same or longer.
  [[nodiscard]] int compare(const Distance& other) const {
    const auto left = static_cast<unsigned __int128>(above) * other.below;
    const auto right = static_cast<unsigned __int128>(other.above) * below;
    return left < right ? -1 : static_cast<int>(left > right);
  }
};

}  // namespace

std::vector<ImageSize> aspect_buckets(const AspectBucketOptions& options) {
  const auto [resolution, step, least, most] = options;
  if (step < 1 || least < step || most < least || least % step != 0 || most % step != 0 || resolution < least ||
      resolution > most) {
    throw ConfigError(
        fmt::format("aspect-ratio buckets of resolution {} with sides from {} to {} in steps of {} do not "
                    "exist",
                    resolution, least, most, step),
        "the smallest and the largest side are multiples of the step, and the resolution lies between");
  }
  const std::int64_t area = std::int64_t{resolution} * resolution;
  std::set<ImageSize> sizes{{resolution / step * step, resolution / step * step}};
  for (int width = least; width <= most; width += step) {
    const int height = static_cast<int>(std::min<std::int64_t>(most, area / width / step * step));
    if (height >= least) {
      sizes.insert({height, width});
      sizes.insert({width, height});
    }
  }
  if (sizes.size() > most_buckets) {
    throw ConfigError(fmt::format("{} aspect-ratio buckets; at most {} are allowed", sizes.size(), most_buckets),
                      "choose a larger step, or sides nearer to each other");
  }
  return {sizes.begin(), sizes.end()};
}

ImageSize nearest_bucket(std::span<const ImageSize> buckets, ImageSize image) {
  SOUP_REQUIRE(!buckets.empty() && image.height > 0 && image.width > 0, "there are buckets and an image");
  const auto area = [](ImageSize size) { return std::int64_t{size.height} * size.width; };
  ImageSize best = buckets.front();
  for (const ImageSize& bucket : buckets.subspan(1)) {
    const int order = Distance(image, bucket).compare(Distance(image, best));
    if (order < 0 || (order == 0 && area(bucket) > area(best))) {
      best = bucket;
    }
  }
  return best;
}

}  // namespace soup
