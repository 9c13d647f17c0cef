// Real weights as the integers that an exact mean needs.
#include "merge/integer_weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "core/error.hpp"
#include "merge/fixed_point.hpp"

namespace soup {

namespace {

using Integers = std::vector<std::int64_t>;

std::int64_t sum_of(const Integers& weights) {
  return std::accumulate(weights.begin(), weights.end(), std::int64_t{0});
}

void require_weights(std::span<const std::string> names, std::span<const double> weights, const WeightRule* rule) {
  const std::string where = rule == nullptr ? "" : fmt::format(" in the rule for \"{}\"", rule->pattern);
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]) || weights[i] < 0.0 || (rule == nullptr && weights[i] == 0.0)) {
      throw ConfigError(fmt::format("ingredient {} has weight {}{}, but weights of a mean are {}", names[i], weights[i],
                                    where, rule == nullptr ? "above 0" : "0 or more"),
                        weights[i] == 0.0 ? "leave the input out instead" : "");
    }
    sum += weights[i];
  }
  if (!(sum > 0.0) || std::isinf(sum)) {
    throw ConfigError(fmt::format("the weights{} add up to {}", where, sum));
  }
}

// The least integers in the ratios of `asked`; absent when no small factor gives integers or their sum passes `most`.
std::optional<Integers> exact_ratios(std::span<const double> asked, std::int64_t most) {
  constexpr int most_factor = 1000;
  for (int factor = 1; factor <= most_factor; ++factor) {
    Integers integers;
    for (const double weight : asked) {
      const double scaled = weight * factor;
      // A decimal such as 0.3 is off by half an ulp, and its product by another.
      const double nearest = std::round(scaled);
      if (scaled > static_cast<double>(most) || std::abs(scaled - nearest) > scaled * 0x1p-51) {
        break;
      }
      integers.push_back(static_cast<std::int64_t>(nearest));
    }
    if (integers.size() == asked.size()) {
      std::int64_t divisor = 0;
      for (const std::int64_t integer : integers) {
        divisor = std::gcd(divisor, integer);
      }
      std::ranges::transform(integers, integers.begin(), [divisor](std::int64_t value) { return value / divisor; });
      return sum_of(integers) <= most ? std::optional(integers) : std::nullopt;
    }
  }
  return std::nullopt;
}

// The weights divided by the least that is above 0.
std::vector<double> over_least(std::span<const double> asked) {
  double least = std::numeric_limits<double>::infinity();
  for (const double weight : asked) {
    least = weight > 0.0 ? std::min(least, weight) : least;
  }
  std::vector<double> ratios;
  std::ranges::transform(asked, std::back_inserter(ratios), [least](double weight) { return weight / least; });
  return ratios;
}

Integers quantised(std::span<const double> asked, std::int64_t total) {
  const double sum = std::accumulate(asked.begin(), asked.end(), 0.0);
  Integers integers;
  for (const double weight : asked) {
    const auto nearest = static_cast<std::int64_t>(std::nearbyint(weight / sum * static_cast<double>(total)));
    integers.push_back(weight > 0.0 ? std::max<std::int64_t>(nearest, 1) : 0);
  }
  const auto largest = std::ranges::max_element(integers);
  *largest += total - sum_of(integers);
  if (*largest < 1) {
    throw ConfigError(fmt::format("{} weights cannot be quantised to {} parts", asked.size(), total),
                      "more weight bits make more parts");
  }
  return integers;
}

}  // namespace

IntegerWeights integer_weights(std::span<const std::string> names, std::span<const double> asked,
                               std::span<const WeightRule> rules, int weight_bits) {
  SOUP_REQUIRE(names.size() == asked.size() && weight_bits >= 1 && weight_bits <= 40, "weights that cannot be");
  require_known_ingredients(rules, names);
  std::vector<std::vector<double>> lists{{asked.begin(), asked.end()}};
  require_weights(names, asked, nullptr);
  for (const WeightRule& rule : rules) {
    lists.push_back(tensor_weights(names, asked, &rule));
    require_weights(names, lists.back(), &rule);
  }
  const std::int64_t most = std::int64_t{1} << weight_bits;
  IntegerWeights result;
  result.total = 1;
  std::vector<Integers> integers;
  for (const std::vector<double>& list : lists) {
    std::optional<Integers> exact = exact_ratios(list, most);
    if (!exact) {
      exact = exact_ratios(over_least(list), most);  // 0.3333 for each of three is 1 : 1 : 1
    }
    result.exact = result.exact && exact && std::lcm(result.total, sum_of(*exact)) <= most;
    if (!result.exact) {
      break;
    }
    result.total = std::lcm(result.total, sum_of(*exact));
    integers.push_back(*exact);
  }
  if (!result.exact) {
    result.total = most;
    integers.clear();
    std::ranges::transform(lists, std::back_inserter(integers),
                           [&](const auto& list) { return quantised(list, most); });
  }
  for (Integers& list : integers) {
    const std::int64_t factor = result.total / sum_of(list);
    std::ranges::transform(list, list.begin(), [factor](std::int64_t value) { return value * factor; });
  }
  result.weights = integers.front();
  for (std::size_t i = 0; i < rules.size(); ++i) {
    result.rules.push_back({rules[i].pattern, {}});
    for (std::size_t k = 0; k < names.size(); ++k) {
      result.rules.back().weights.emplace(names[k], static_cast<double>(integers[i + 1][k]));
    }
  }
  return result;
}

std::vector<double> pulled_back(std::span<const double> weights, double lambda) {
  if (!(lambda > 0.0 && lambda < 1.0)) {
    throw ConfigError(fmt::format("lambda is {}, but a pull-back needs 0 < lambda < 1", lambda),
                      "0 is the base itself and 1 the soup without a base");
  }
  std::vector<double> asked;
  std::ranges::transform(weights, std::back_inserter(asked), [lambda](double weight) { return lambda * weight; });
  asked.push_back((1.0 - lambda) * std::accumulate(weights.begin(), weights.end(), 0.0));
  return asked;
}

int scale_bits_for(std::int64_t total_weight) {
  // |w| N 2^S < 2^62 holds for |w| < 64 where N <= 2^(56 - S).
  const auto weight_bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(total_weight - 1)));
  return std::clamp(56 - weight_bits, 1, default_scale_bits);
}

std::vector<std::string> quantisation_lines(std::span<const std::string> names, std::span<const double> asked,
                                            const IntegerWeights& used) {
  std::vector<std::string> lines;
  const bool is_power = std::has_single_bit(static_cast<std::uint64_t>(used.total)) && used.total > 1;
  const std::string total = is_power ? fmt::format("2^{}", std::bit_width(static_cast<std::uint64_t>(used.total)) - 1)
                                     : std::to_string(used.total);
  for (std::size_t i = 0; i < names.size(); ++i) {
    lines.push_back(fmt::format("{}: asked {}, used {}/{}", names[i], asked[i], used.weights[i], total));
  }
  const auto as_asked = [&](std::size_t i) { return static_cast<double>(used.weights[i]) == asked[i]; };
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!as_asked(i)) {
      return lines;
    }
  }
  return {};
}

}  // namespace soup
