#include "experiments/comparison.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "experiments/evaluation.hpp"
#include "experiments/frechet.hpp"

namespace soup {

namespace {

std::vector<double> paired_differences(const ModelRecord& first, const ModelRecord& second, std::string_view score) {
  const std::vector<double> a = sample_values(first, score);
  const std::vector<double> b = sample_values(second, score);
  std::vector<double> differences;
  if (a.size() != b.size()) {
    return differences;  // one of the two has no such score
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isnan(a[i]) && !std::isnan(b[i])) {
      differences.push_back(a[i] - b[i]);
    }
  }
  return differences;
}

void require_same_samples(const ModelRecord& first, const ModelRecord& second, const std::filesystem::path& folder) {
  const auto different = [](const auto& a, const auto& b, auto&& same) {
    return !a.empty() && !b.empty() && !std::ranges::equal(a, b, same);
  };
  if (different(first.images, second.images,
                [](const ImageRecord& a, const ImageRecord& b) { return a.prompt == b.prompt; }) ||
      different(first.denoising, second.denoising, [](const DenoisingRecord& a, const DenoisingRecord& b) {
        return a.shard == b.shard && a.image == b.image;
      })) {
    throw DataError(folder, first.model + " and " + second.model + " were evaluated on different prompts or images",
                    "remove the folder and evaluate again");
  }
}

}  // namespace

Comparison compare(const ModelRecord& first, const ModelRecord& second, const std::filesystem::path& folder,
                   std::int64_t resamples, SeedTree seeds) {
  require_same_samples(first, second, folder);
  Comparison result{first.model, second.model, first.weights, {}};
  const RandomStream stream = seeds.stream("bootstrap", "", 0);
  for (const ScoreKind& kind : score_kinds()) {
    const std::vector<double> differences = paired_differences(first, second, kind.name);
    if (!differences.empty()) {
      result.differences.emplace(kind.name, bootstrap_mean(differences, resamples, stream));
    }
  }
  if (first.scores.contains("kernel_distance") && second.scores.contains("kernel_distance")) {
    const Features reference = read_features(features_path(folder, "reference"));
    const Features a = read_features(features_path(folder, record_stem(first.model, first.weights)));
    const Features b = read_features(features_path(folder, record_stem(second.model, second.weights)));
    const auto paired = [&](const auto& x, const auto& y, std::int64_t count) {
      return bootstrap(a.rows, count, stream,
                       [&](std::span<const std::uint32_t> indices) { return x.over(indices) - y.over(indices); });
    };
    result.differences.emplace("kernel_distance",
                               paired(KernelDistance(a, reference), KernelDistance(b, reference), resamples));
    result.differences.emplace("frechet_distance", paired(FrechetDistance(a, reference), FrechetDistance(b, reference),
                                                          std::min(resamples, frechet_resamples)));
  }
  return result;
}

std::vector<Comparison> compare_all(const std::filesystem::path& folder, const std::string& first,
                                    const std::vector<std::string>& models, std::int64_t resamples, SeedTree seeds) {
  std::vector<Comparison> comparisons;
  for (const std::string weights : {"raw", "ema"}) {
    const ModelRecord record = read_record(folder / (record_stem(first, weights) + ".jsonl"));
    for (const std::string& model : models) {
      if (model != first) {
        const ModelRecord other = read_record(folder / (record_stem(model, weights) + ".jsonl"));
        comparisons.push_back(compare(record, other, folder, resamples, seeds));
      }
    }
  }
  return comparisons;
}

}  // namespace soup
