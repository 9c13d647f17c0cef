// Real weights as the integers that an exact mean needs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "merge/weight_rules.hpp"

namespace soup {

inline constexpr int default_weight_bits = 20;

struct IntegerWeights {
  std::vector<std::int64_t> weights;  // as asked
  std::vector<WeightRule> rules;      // each gives every ingredient an integer weight
  std::int64_t total = 0;             // of `weights`, and of every rule
  bool exact = true;                  // the ratios are those asked for
};

// Integers in the ratios of `asked`, and of what the rules make of it, all with one total. The ratios are kept where
// a factor of at most 1000 makes integers of all weights (0.3 and 0.7 are 3 and 7), or of their ratios to the least,
// and a total of at most 2^weight_bits; else each list is quantised to the total 2^weight_bits: to the nearest integer,
// what that leaves over or lacks going to the largest weight, and every positive weight staying at least 1. `names` are
// the ingredients', for rules and messages. Throws ConfigError for a weight that is negative or not finite, an
// ingredient whose own weight is 0, a rule that leaves nothing, and more ingredients than 2^weight_bits has room for.
IntegerWeights integer_weights(std::span<const std::string> names, std::span<const double> asked,
                               std::span<const WeightRule> rules = {}, int weight_bits = default_weight_bits);

// What the pull-back base + lambda * (soup - base) asks for: lambda times each weight, and for the base, which comes
// last, (1 - lambda) times their sum (WiSE-FT: Wortsman et al. 2022, arXiv 2109.01903, section 3, theta = (1 - alpha)
// theta_0 + alpha theta_1). Throws ConfigError unless 0 < lambda < 1.
std::vector<double> pulled_back(std::span<const double> weights, double lambda);

// The most scale bits, up to the default, that leave room for weights below 64 in a sum of this total weight.
int scale_bits_for(std::int64_t total_weight);

// "oxygen: asked 0.3333, used 349525/2^20", one line an ingredient; empty where every weight is used as asked.
std::vector<std::string> quantisation_lines(std::span<const std::string> names, std::span<const double> asked,
                                            const IntegerWeights& used);

}  // namespace soup
