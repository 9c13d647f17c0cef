// Aspect-ratio buckets: the few sizes that images of every shape are fitted to (NovelAI, "NovelAI Improvements on
// Stable Diffusion", 2022; kohya's trainers use the same list).
#pragma once

#include <span>
#include <vector>

#include "data/image_size.hpp"

namespace soup {

struct AspectBucketOptions {
  int resolution = 512;  // an area of at most resolution x resolution
  int step = 64;         // sides are multiples of it
  int least_side = 256;
  int most_side = 1024;
};

// For each width from least_side to most_side in steps: the largest height, a multiple of step and at most most_side,
// whose area is at most resolution^2; and the same with the sides exchanged; and the square. Without repetitions,
// ordered by height, then width. Throws ConfigError: sides that are no multiples of step or out of order, more than 256
// sizes.
std::vector<ImageSize> aspect_buckets(const AspectBucketOptions& options);

// Of `buckets` the one whose width / height is nearest to the image's: the smallest |log ratio|, computed exactly. Of
// two as near the one with the larger area, then the first.
ImageSize nearest_bucket(std::span<const ImageSize> buckets, ImageSize image);

}  // namespace soup
