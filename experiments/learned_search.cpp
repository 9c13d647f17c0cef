// Weights of a soup learned by CMA-ES.
#include "experiments/learned_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/random.hpp"
#include "experiments/cma_es.hpp"

namespace soup {

namespace {

constexpr double settled_spread = 0.01;

std::vector<double> to_vector(const auto& column) {
  return {column.begin(), column.end()};
}

}  // namespace

InputWeights simplex_weights(const std::vector<double>& x) {
  // Column j of B: 1 / sqrt(j (j + 1)) for the first j inputs, -sqrt(j / (j + 1)) for the next, j from 1 on.
  InputWeights logs(x.size() + 1, 0.0);
  for (std::size_t j = 1; j <= x.size(); ++j) {
    const auto number = static_cast<double>(j);
    for (std::size_t i = 0; i < j; ++i) {
      logs[i] += x[j - 1] / std::sqrt(number * (number + 1.0));
    }
    logs[j] -= x[j - 1] * std::sqrt(number / (number + 1.0));
  }
  const double most = *std::ranges::max_element(logs);
  for (double& value : logs) {
    value = std::exp(value - most);
  }
  const double sum = std::accumulate(logs.begin(), logs.end(), 0.0);
  for (double& value : logs) {
    value /= sum;
  }
  return logs;
}

LearnedResult learned_search(std::size_t inputs, const ScoreSoups& scores, bool higher_is_better,
                             const LearnedSettings& settings,
                             const std::function<void(const LearnedGeneration&)>& tell) {
  if (inputs < 2) {
    throw ConfigError("weights of one input cannot be learned", "name two models or more");
  }
  const std::size_t dimensions = inputs - 1;
  const std::size_t population =
      settings.population ? static_cast<std::size_t>(*settings.population) : CmaEs::default_population(dimensions);
  const auto budget = static_cast<std::size_t>(settings.budget);
  if (population + 2 > budget) {
    throw ConfigError(
        fmt::format("--budget {} is less than one generation of {} soups, the equal weights and the result",
                    settings.budget, population),
        fmt::format("a search over {} inputs wants some {} soups", inputs, 30 * population));
  }
  LearnedResult result;
  CmaEs search(dimensions, settings.sigma, population);
  std::size_t scored = 2;  // the equal weights, by the caller, and the result
  while (scored + population <= budget && search.spread() > settled_spread) {
    RandomStream stream = SeedTree(settings.seed).stream("search", "", result.generations.size());
    const Eigen::MatrixXd points = search.ask(stream);
    LearnedGeneration generation;
    generation.spread = search.spread();
    for (const auto& point : points.colwise()) {
      generation.weights.push_back(simplex_weights(to_vector(point)));
    }
    generation.scores = scores(generation.weights);
    std::vector<Eigen::Index> order(population);
    std::iota(order.begin(), order.end(), Eigen::Index{0});
    std::ranges::stable_sort(order, [&](Eigen::Index a, Eigen::Index b) {
      const double first = generation.scores[static_cast<std::size_t>(a)].value;
      const double second = generation.scores[static_cast<std::size_t>(b)].value;
      return higher_is_better ? first > second : first < second;
    });
    search.tell(points(Eigen::all, order));
    scored += population;
    result.generations.push_back(std::move(generation));
    if (tell) {
      tell(result.generations.back());
    }
  }
  result.weights = simplex_weights(to_vector(search.mean()));
  result.score = scores(std::span(&result.weights, 1)).front();
  return result;
}

}  // namespace soup
