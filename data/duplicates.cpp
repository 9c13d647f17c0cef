#include "data/duplicates.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include "core/error.hpp"

namespace soup {
namespace {

constexpr int hash_columns = 9;
constexpr int hash_rows = 8;
constexpr int bands = 4;

struct Place {
  std::uint32_t shard;
  std::uint32_t image;
};

std::uint16_t band_of(std::uint64_t hash, int band) {
  return static_cast<std::uint16_t>(hash >> (16 * band));
}

double root_mean_square(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::int64_t difference = std::int64_t{a[i]} - std::int64_t{b[i]};
    sum += difference * difference;
  }
  return std::sqrt(static_cast<double>(sum) / static_cast<double>(a.size()));
}

// Equal for images with the same pixels: bytes alone could be those of an image of other sides.
using ExactKey = std::pair<Digest, int>;
ExactKey identity(const ShardFile& shard, std::uint64_t image) {
  return {shard.pixel_digest(image), shard.height(image)};
}

bool same_size(const ShardFile& a, std::uint64_t of_a, const ShardFile& b, std::uint64_t of_b) {
  return a.height(of_a) == b.height(of_b) && a.width(of_a) == b.width(of_b);
}

// Two hashes that differ in at most three bits agree in at least one of four 16-bit bands, so looking up each band
// finds every near pair.
class EarlierShards {
 public:
  // The shards must outlive this object.
  void add(const ShardFile& shard) {
    const auto number = static_cast<std::uint32_t>(shards_.size());
    shards_.push_back(&shard);
    for (std::uint32_t i = 0; i < shard.size(); ++i) {
      exact_.try_emplace(identity(shard, i), Place{number, i});
      for (int band = 0; band < bands; ++band) {
        by_band_[static_cast<std::size_t>(band)][band_of(shard.perceptual_hash(i), band)].push_back({number, i});
      }
    }
  }

  // The nearest match of an image of another shard; only an exact one without `near`.
  [[nodiscard]] std::optional<DuplicatePair> nearest(const ShardFile& later, std::uint32_t image,
                                                     const std::optional<DuplicateOptions>& near) const {
    DuplicatePair best{.second_shard = shards_.size(), .second_image = image};
    if (const auto found = exact_.find(identity(later, image)); found != exact_.end()) {
      best.first_shard = found->second.shard;
      best.first_image = found->second.image;
      best.exact = true;
      return best;
    }
    if (!near) {
      return std::nullopt;
    }
    const std::uint64_t hash = later.perceptual_hash(image);
    bool any = false;
    for (int band = 0; band < bands; ++band) {
      for (const Place& place : by_band_[static_cast<std::size_t>(band)][band_of(hash, band)]) {
        const ShardFile& earlier = *shards_[place.shard];
        const int distance = std::popcount(hash ^ earlier.perceptual_hash(place.image));
        if (distance > near->hash_distance || !same_size(later, image, earlier, place.image)) {
          continue;
        }
        const double rms = root_mean_square(later.pixels(image), earlier.pixels(place.image));
        const bool nearer =
            !any || std::tie(rms, place.shard, place.image) < std::tuple(best.rms, best.first_shard, best.first_image);
        if (rms <= near->rms_limit && nearer) {
          best.first_shard = place.shard;
          best.first_image = place.image;
          best.distance = distance;
          best.rms = rms;
          any = true;
        }
      }
    }
    return any ? std::optional(best) : std::nullopt;
  }

 private:
  std::vector<const ShardFile*> shards_;
  std::map<ExactKey, Place> exact_;
  std::array<std::vector<std::vector<Place>>, bands> by_band_{
      std::vector<std::vector<Place>>(1 << 16), std::vector<std::vector<Place>>(1 << 16),
      std::vector<std::vector<Place>>(1 << 16), std::vector<std::vector<Place>>(1 << 16)};
};

void require_usable(const DuplicateOptions& options) {
  if (options.hash_distance < 0 || options.hash_distance > bands - 1) {
    throw ConfigError("the hash distance of near-duplicates is " + std::to_string(options.hash_distance) +
                      "; it must be 0 to 3, the range in which every pair is found");
  }
}

// How much of a pixel lies in a cell, in parts of 1 / cells of a pixel's side.
struct Share {
  int pixel;
  std::size_t cell;
  int length;
};

// By pixel. A side of so many pixels is divided into `cells` cells of one length.
std::vector<Share> shares_of(int pixels, int cells) {
  std::vector<Share> shares;
  for (int pixel = 0; pixel < pixels; ++pixel) {
    for (int cell = pixel * cells / pixels; cell < cells && cell * pixels < (pixel + 1) * cells; ++cell) {
      const int length = std::min((pixel + 1) * cells, (cell + 1) * pixels) - std::max(pixel * cells, cell * pixels);
      shares.push_back({pixel, static_cast<std::size_t>(cell), length});
    }
  }
  return shares;
}

// Luma of ITU-R BT.601, times 1000, of a pixel or of sums over pixels.
std::int64_t grey_of(const std::uint32_t* channels, int count) {
  return count >= 3
             ? std::int64_t{299} * channels[0] + std::int64_t{587} * channels[1] + std::int64_t{114} * channels[2]
             : std::int64_t{1000} * channels[0];
}

// Squares of two sizes are of two resolutions. Other images are compared where their sizes agree: the same picture goes
// to the same aspect-ratio bucket in every shard.
void require_same_resolution(const ShardFile& shard, const ShardFile& first) {
  const auto squares = [](const ShardFile& of) { return of.one_size() && of.height() == of.width(); };
  const bool differ = squares(shard) && squares(first) && shard.height() != first.height();
  if (differ || shard.channels() != first.channels()) {
    const auto size = [](const ShardFile& of) {
      return std::to_string(of.height(0)) + " x " + std::to_string(of.width(0)) + " x " + std::to_string(of.channels());
    };
    throw DataError(shard.path(),
                    "has images of " + size(shard) + ", but " + first.path().string() + " of " + size(first),
                    "import all shards at one resolution");
  }
}

}  // namespace

std::uint64_t difference_hash(const Image& image) {
  SOUP_REQUIRE(image.width > 0 && image.height > 0 && image.channels > 0 &&
                   image.pixels.size() == static_cast<std::size_t>(image.width) * image.height * image.channels,
               "an image's pixels have its size");
  // Each cell averages its part of the image, pixels on its border by their share. Extents are scaled by 9 and 8 so
  // that shares are whole numbers and the hash is exact; all cells have the same area, so sums compare like means.
  std::array<std::array<std::int64_t, hash_columns>, hash_rows> cells{};
  const std::vector<Share> columns = shares_of(image.width, hash_columns);
  const std::size_t line_values = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.channels);
  std::vector<std::uint32_t> sums(line_values);  // of a row of cells so far, down each column of each channel
  std::size_t row_cell = 0;
  const auto fold = [&] {
    for (const Share& share : columns) {
      const std::uint32_t* sum =
          &sums[static_cast<std::size_t>(share.pixel) * static_cast<std::size_t>(image.channels)];
      cells[row_cell][share.cell] += grey_of(sum, image.channels) * share.length;
    }
    std::ranges::fill(sums, 0U);
  };
  for (const Share& share : shares_of(image.height, hash_rows)) {
    if (share.cell != row_cell) {
      fold();
      row_cell = share.cell;
    }
    const std::uint8_t* line = &image.pixels[static_cast<std::size_t>(share.pixel) * line_values];
    const auto length = static_cast<std::uint32_t>(share.length);
    for (std::size_t i = 0; i < line_values; ++i) {
      sums[i] += length * line[i];
    }
  }
  fold();
  std::uint64_t hash = 0;
  for (const auto& row : cells) {
    for (std::size_t column = 0; column + 1 < row.size(); ++column) {
      hash = hash << 1 | static_cast<std::uint64_t>(row[column] < row[column + 1]);
    }
  }
  return hash;
}

std::vector<DuplicatePair> cross_shard_duplicates(std::span<const ShardFile> shards, const DuplicateOptions& options) {
  require_usable(options);
  for (const ShardFile& shard : shards) {
    require_same_resolution(shard, shards.front());
  }
  std::vector<DuplicatePair> pairs;
  EarlierShards earlier;
  for (std::size_t shard = 0; shard < shards.size(); ++shard) {
    for (std::uint32_t image = 0; shard > 0 && image < shards[shard].size(); ++image) {
      if (const auto pair = earlier.nearest(shards[shard], image, options)) {
        pairs.push_back(*pair);
      }
    }
    if (shard + 1 < shards.size()) {
      earlier.add(shards[shard]);
    }
  }
  std::stable_partition(pairs.begin(), pairs.end(), [](const DuplicatePair& pair) { return pair.exact; });
  return pairs;
}

std::vector<DuplicatePair> images_also_in(const ShardFile& shard, const ShardFile& other,
                                          const std::optional<DuplicateOptions>& near) {
  if (near) {
    require_usable(*near);
  }
  require_same_resolution(shard, other);
  EarlierShards earlier;
  earlier.add(other);
  std::vector<DuplicatePair> pairs;
  for (std::uint32_t image = 0; image < shard.size(); ++image) {
    if (const auto pair = earlier.nearest(shard, image, near)) {
      pairs.push_back(*pair);
    }
  }
  return pairs;
}

}  // namespace soup
