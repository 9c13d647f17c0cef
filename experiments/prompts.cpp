#include "experiments/prompts.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <set>

#include "core/error.hpp"
#include "data/caption.hpp"

namespace soup {

namespace {

// The held-out images of one shard in drawn order (Fisher-Yates).
std::vector<std::uint64_t> drawn(const ShardFile& shard, const HeldOut& held_out, std::string_view purpose,
                                 SeedTree seeds) {
  std::vector<std::uint64_t> images = held_out_set(shard, held_out);
  RandomStream stream = seeds.stream(purpose, shard.origin().name, 0);
  for (std::size_t i = images.size(); i > 1; --i) {
    std::swap(images[i - 1], images[stream.below(i)]);
  }
  return images;
}

// Contexts in turn: the first drawn image of each context, then the second of each, ...
std::deque<std::uint64_t> contexts_in_turn(const ShardFile& shard, const std::vector<std::uint64_t>& images) {
  std::map<std::string_view, std::uint64_t> seen;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> rounds;  // (round, image)
  for (const std::uint64_t image : images) {
    rounds.emplace_back(seen[caption_context(shard.caption(image))]++, image);
  }
  std::ranges::stable_sort(rounds, {}, &std::pair<std::uint64_t, std::uint64_t>::first);
  std::deque<std::uint64_t> result;
  for (const auto& [round, image] : rounds) {
    result.push_back(image);
  }
  return result;
}

}  // namespace

std::string_view caption_context(std::string_view caption) {
  return caption.substr(0, caption.find(' '));
}

Image shard_image(const ShardFile& shard, std::uint64_t index) {
  const auto pixels = shard.pixels(index);
  return {shard.height(index), shard.width(index), shard.channels(), {pixels.begin(), pixels.end()}};
}

std::vector<Prompt> select_prompts(std::span<const ShardFile> shards, const HeldOut& held_out, std::uint64_t count,
                                   SeedTree seeds) {
  std::vector<std::deque<std::uint64_t>> queues;
  for (const ShardFile& shard : shards) {
    queues.push_back(contexts_in_turn(shard, drawn(shard, held_out, "prompts", seeds)));
  }
  std::vector<Prompt> prompts;
  std::set<std::string> texts;
  bool styled_round = true;
  bool any_left = true;
  while (prompts.size() < count && any_left) {
    any_left = false;
    for (std::size_t s = 0; s < shards.size() && prompts.size() < count; ++s) {
      while (!queues[s].empty()) {
        any_left = true;
        const std::uint64_t image = queues[s].front();
        queues[s].pop_front();
        const std::string caption(shards[s].caption(image));
        const std::string style(shards[s].style(image));
        const bool with_style = styled_round && !style.empty();
        std::string text = with_style ? styled_caption(caption, style) : caption;
        if (texts.insert(text).second) {
          prompts.push_back({std::move(text), caption, style, std::string(caption_context(caption)), with_style,
                             ImagePlace{s, image}});
          break;
        }
      }
    }
    styled_round = !styled_round;
  }
  if (prompts.empty()) {
    throw DataError("evaluation", "no image of the " + std::to_string(shards.size()) + " shards is held out",
                    "raise data.held_out, or give shards with more different names");
  }
  return prompts;
}

std::vector<ImagePlace> reference_images(std::span<const ShardFile> shards, const HeldOut& held_out,
                                         std::span<const Prompt> prompts, SeedTree seeds) {
  std::set<ImagePlace> used;
  for (const Prompt& prompt : prompts) {
    used.insert(prompt.origin);
  }
  std::vector<std::vector<std::uint64_t>> left(shards.size());
  std::size_t smallest = std::numeric_limits<std::size_t>::max();
  for (std::size_t s = 0; s < shards.size(); ++s) {
    for (const std::uint64_t image : contexts_in_turn(shards[s], drawn(shards[s], held_out, "reference", seeds))) {
      if (!used.contains({s, image})) {
        left[s].push_back(image);
      }
    }
    smallest = std::min(smallest, left[s].size());
  }
  std::vector<ImagePlace> result;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const std::size_t count = std::min(left[s].size(), std::max(smallest, least_per_shard));
    for (std::size_t i = 0; i < count; ++i) {
      result.push_back({s, left[s][i]});
    }
  }
  return result;
}

std::vector<ImagePlace> denoising_images(std::span<const ShardFile> shards, const HeldOut& held_out,
                                         std::uint64_t count, SeedTree seeds) {
  std::vector<std::vector<std::uint64_t>> images;
  std::size_t longest = 0;
  for (const ShardFile& shard : shards) {
    images.push_back(drawn(shard, held_out, "denoising_images", seeds));
    longest = std::max(longest, images.back().size());
  }
  std::vector<ImagePlace> result;
  for (std::size_t round = 0; round < longest; ++round) {
    for (std::size_t s = 0; s < shards.size() && result.size() < count; ++s) {
      if (round < images[s].size()) {
        result.push_back({s, images[s][round]});
      }
    }
  }
  return result;
}

}  // namespace soup
