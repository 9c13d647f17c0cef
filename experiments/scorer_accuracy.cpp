// Retrieval and classification of held-out real images by a scorer.
#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "data/caption.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer_training.hpp"

namespace soup {

namespace {

struct Retrieval {
  std::uint64_t captions = 0;
  double top1 = 0.0;
  double top5 = 0.0;
};

Retrieval retrieve(const Scorer& scorer, const at::Tensor& embeddings, const std::vector<std::string>& texts) {
  std::map<std::string, std::int64_t> places;
  std::vector<std::string> distinct;
  std::vector<std::int64_t> right;
  for (const std::string& text : texts) {
    const auto [place, fresh] = places.try_emplace(text, static_cast<std::int64_t>(distinct.size()));
    if (fresh) {
      distinct.push_back(text);
    }
    right.push_back(place->second);
  }
  const at::Tensor similarities = embeddings.matmul(scorer.embed_texts(distinct).t());  // [N, captions]
  const at::Tensor own = similarities.gather(1, at::tensor(right).unsqueeze(1));
  // Ties count against the scorer: the own caption is the last of its equals.
  const at::Tensor ranks = similarities.ge(own).sum(1);
  return {distinct.size(), ranks.le(1).to(at::kDouble).mean().item<double>(),
          ranks.le(5).to(at::kDouble).mean().item<double>()};
}

}  // namespace

nlohmann::json to_json(const ScorerAccuracy& accuracy) {
  return {{"pairs", accuracy.pairs},
          {"styled_captions", accuracy.styled_captions},
          {"styled_top1", accuracy.styled_top1},
          {"styled_top5", accuracy.styled_top5},
          {"plain_captions", accuracy.plain_captions},
          {"plain_top1", accuracy.plain_top1},
          {"plain_top5", accuracy.plain_top5},
          {"context_accuracy", accuracy.context_accuracy},
          {"style_accuracy", accuracy.style_accuracy}};
}

ScorerAccuracy measure_scorer(const Scorer& scorer, std::span<const ShardFile> shards, const HeldOut& held_out) {
  std::vector<Image> images;
  std::vector<std::string> styled;
  std::vector<std::string> plain;
  std::vector<std::int64_t> contexts;
  std::vector<std::int64_t> styles;
  for (const ShardFile& shard : shards) {
    for (const std::uint64_t index : held_out_set(shard, held_out)) {
      images.push_back(shard_image(shard, index));
      plain.emplace_back(shard.caption(index));
      styled.push_back(styled_caption(shard.caption(index), shard.style(index)));
      contexts.push_back(class_index(scorer.architecture().contexts, caption_context(shard.caption(index))));
      styles.push_back(class_index(scorer.architecture().styles, shard.style(index)));
    }
  }
  if (images.empty()) {
    throw DataError("scorer", "no image of the " + std::to_string(shards.size()) + " shards is held out for its test",
                    "raise held_out");
  }
  const ImageScores scores = scorer.score(images);
  const auto accuracy_of = [](const at::Tensor& probabilities, const std::vector<std::int64_t>& classes) {
    if (probabilities.size(1) == 0) {
      return 0.0;
    }
    const at::Tensor right = at::tensor(classes);
    const double known = right.ge(0).sum().item<double>();
    return known == 0.0 ? 0.0 : probabilities.argmax(1).eq(right).sum().item<double>() / known;
  };
  const Retrieval with_style = retrieve(scorer, scores.embeddings, styled);
  const Retrieval without_style = retrieve(scorer, scores.embeddings, plain);
  return {.pairs = images.size(),
          .styled_captions = with_style.captions,
          .styled_top1 = with_style.top1,
          .styled_top5 = with_style.top5,
          .plain_captions = without_style.captions,
          .plain_top1 = without_style.top1,
          .plain_top5 = without_style.top5,
          .context_accuracy = accuracy_of(scores.context_probabilities, contexts),
          .style_accuracy = accuracy_of(scores.style_probabilities, styles)};
}

}  // namespace soup
