#include "experiments/scorer_batches.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.hpp"
#include "data/caption.hpp"
#include "data/split.hpp"
#include "experiments/scorer.hpp"
#include "experiments/square_image.hpp"

namespace soup {

ScorerData gather_scorer_data(const ScorerConfig& config, std::span<const ShardFile> shards) {
  if (shards.empty()) {
    throw DataError("scorer", "there is no shard to train on");
  }
  ScorerData data;
  data.side = longest_square(shards);
  std::set<std::string> styles;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const ShardFile& shard = shards[s];
    if (shard.channels() != 3) {
      throw DataError(shard.path(),
                      "holds images of " + std::to_string(shard.channels()) + " channels; the scorer wants RGB images");
    }
    const TrainingSet set = training_set(shard, config.held_out, {});
    for (const std::uint64_t image : set.images) {
      data.places.push_back({s, image});
      data.captions.emplace_back(shard.caption(image));
      data.captions.push_back(styled_caption(shard.caption(image), shard.style(image)));
      if (!shard.style(image).empty()) {
        styles.emplace(shard.style(image));
      }
    }
    data.roots[shard.origin().name] = {
        {"merkle_root", shard.root().hex()}, {"trained_on", set.digest.hex()}, {"images", set.images.size()}};
  }
  data.styles.assign(styles.begin(), styles.end());
  const auto style_of = [&shards](const ImagePlace& place) -> std::string_view {
    return shards[place.shard].style(place.image);
  };
  std::ranges::stable_sort(data.places, {}, style_of);
  for (std::size_t i = 1; i <= data.places.size(); ++i) {
    if (i == data.places.size() || style_of(data.places[i]) != style_of(data.places[i - 1])) {
      data.style_ends.push_back(i);
    }
  }
  return data;
}

std::vector<double> style_shares(const ScorerData& data, double balance) {
  std::vector<double> shares;
  double sum = 0.0;
  std::size_t begin = 0;
  for (const std::size_t end : data.style_ends) {
    shares.push_back(std::pow(static_cast<double>(end - begin), 1.0 - balance));
    sum += shares.back();
    begin = end;
  }
  for (double& share : shares) {
    share /= sum;
  }
  return shares;
}

const ImagePlace& ScorerBatches::draw(std::uint64_t counter) const {
  RandomStream stream = seeds_.stream("scorer_image", "", counter);
  double left = stream.uniform();
  std::size_t style = 0;
  while (style + 1 < style_shares_.size() && left >= style_shares_[style]) {
    left -= style_shares_[style++];
  }
  const std::size_t begin = style == 0 ? 0 : data_.style_ends[style - 1];
  return data_.places[begin + stream.below(data_.style_ends[style] - begin)];
}

ScorerBatch ScorerBatches::make(std::uint64_t first_counter) {
  const auto batch = static_cast<std::size_t>(config_.batch);
  ScorerBatch result{at::empty({config_.batch, 3, data_.side, data_.side}), {}, {}, {}, {}};
  std::vector<std::string> texts(batch);
  std::vector<std::int64_t> contexts(batch);
  std::vector<std::int64_t> styles(batch);
  std::vector<ImagePlace> places(batch);
  std::vector<bool> plain(batch);
  for (std::size_t i = 0; i < batch; ++i) {
    const std::uint64_t counter = first_counter + i;
    places[i] = draw(counter);
    const auto& [shard_index, image] = places[i];
    const ShardFile& shard = shards_[shard_index];
    plain[i] =
        shard.style(image).empty() || seeds_.stream("scorer_caption", "", counter).uniform() < config_.style_dropout;
    texts[i] = plain[i] ? std::string(shard.caption(image)) : styled_caption(shard.caption(image), shard.style(image));
    contexts[i] = class_index(config_.contexts, caption_context(shard.caption(image)));
    styles[i] = class_index(data_.styles, shard.style(image));
    copy_shifted(square_image(shard_image(shard, image), data_.side).pixels, counter,
                 result.images[static_cast<std::int64_t>(i)]);
  }
  result.ids = token_ids(tokenizer_, texts);
  result.contexts = at::tensor(contexts);
  result.styles = at::tensor(styles);
  result.also_right = at::zeros({config_.batch, config_.batch}, at::kBool);
  auto also_right = result.also_right.accessor<bool, 2>();
  for (std::size_t i = 0; i < batch; ++i) {
    for (std::size_t j = 0; j < batch; ++j) {
      also_right[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)] =
          i != j && caption(places[i]) == caption(places[j]) && (plain[j] || style(places[i]) == style(places[j]));
    }
  }
  return result;
}

// Pixels to [-1, 1], moved by a random shift over a white border.
void ScorerBatches::copy_shifted(std::span<const std::uint8_t> pixels, std::uint64_t counter,
                                 const at::Tensor& out) const {
  RandomStream stream = seeds_.stream("scorer_shift", "", counter);
  const auto draw = [&] {
    return static_cast<int>(stream.below(2 * static_cast<std::uint64_t>(config_.shift_pixels) + 1)) -
           config_.shift_pixels;
  };
  const int dy = draw();
  const int dx = draw();
  const int size = data_.side;
  auto* values = out.data_ptr<float>();
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        const int sy = y - dy;
        const int sx = x - dx;
        const bool inside = sy >= 0 && sy < size && sx >= 0 && sx < size;
        const auto source = (static_cast<std::size_t>(sy) * size + static_cast<std::size_t>(sx)) * 3 + c;
        *values++ = inside ? static_cast<float>(pixels[source]) / 127.5F - 1.0F : 1.0F;
      }
    }
  }
}

}  // namespace soup
