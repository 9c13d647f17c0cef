// Patterns on tensor names, and real weights as integers.
#include "merge/weight_rules.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/random.hpp"
#include "merge/integer_weights.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Pattern, StarsAndQuestionMarks) {
  for (const auto& [pattern, text] : std::vector<std::pair<const char*, const char*>>{{"a.b", "a.b"},
                                                                                      {"*", ""},
                                                                                      {"*", "a.b"},
                                                                                      {"a*", "a"},
                                                                                      {"a*c", "abbc"},
                                                                                      {"a*c*e", "acce"},
                                                                                      {"*.weight", "a.weight.weight"},
                                                                                      {"a?c", "abc"},
                                                                                      {"*?", "a"},
                                                                                      {"a**b", "ab"}}) {
    EXPECT_TRUE(matches(pattern, text)) << pattern << " " << text;
  }
  for (const auto& [pattern, text] : std::vector<std::pair<const char*, const char*>>{
           {"a.b", "axb"}, {"", "a"}, {"a", ""}, {"a*c", "acb"}, {"a?c", "ac"}, {"?", ""}, {"*.bias", "a.weight"}}) {
    EXPECT_FALSE(matches(pattern, text)) << pattern << " " << text;
  }
  // No time without end on many stars.
  EXPECT_FALSE(matches(std::string(200, '*') + "b", std::string(10000, 'a')));
}

TEST(Rules, TheLastThatMatchesDecides) {
  const std::vector<WeightRule> rules{{"down.*", {{"a", 2}}}, {"unet/*.bias", {{"b", 3}}}};
  EXPECT_EQ(rule_of(rules, "unet", "down.weight"), 0u);
  EXPECT_EQ(rule_of(rules, "unet", "down.bias"), 1u);
  EXPECT_EQ(rule_of(rules, "unet_ema", "down.bias"), 0u);
  EXPECT_FALSE(rule_of(rules, "unet", "up.weight").has_value());
  const std::vector<std::string> names{"a", "b"};
  const std::vector<double> weights{5, 7};
  EXPECT_THAT(tensor_weights(names, weights, &rules[1]), ElementsAre(5, 3));
  EXPECT_THAT(tensor_weights(names, weights, nullptr), ElementsAre(5, 7));
}

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Rules, SlipsAreNamed) {
  const std::vector<std::string> names{"oxygen", "numix"};
  const std::vector<WeightRule> unknown{{"*", {{"oxigen", 2}}}};
  EXPECT_THAT(refusal([&] { require_known_ingredients(unknown, names); }),
              AllOf(HasSubstr("the rule for \"*\" gives a weight to oxigen"), HasSubstr("did you mean oxygen?")));
  const std::vector<WeightRule> empty{{"*", {}}};
  EXPECT_THAT(refusal([&] { require_known_ingredients(empty, names); }), HasSubstr("no weights"));
  const std::vector<TensorName> tensors{{"unet", "down_blocks.0.weight"}};
  const std::vector<WeightRule> unused{{"down*", {{"oxygen", 2}}}, {"dwon*", {{"oxygen", 2}}}};
  EXPECT_THAT(refusal([&] { require_matches(unused, tensors); }),
              AllOf(HasSubstr("matches the pattern \"dwon*\""), HasSubstr("unet/down_blocks.0.weight")));
}

IntegerWeights used(const std::vector<double>& asked, const std::vector<WeightRule>& rules = {}) {
  const std::vector<std::string> all{"a", "b", "c", "d"};
  return integer_weights(std::span(all).first(asked.size()), asked, rules);
}

TEST(IntegerWeights, SmallRatiosAreKept) {
  EXPECT_THAT(used({1, 2}).weights, ElementsAre(1, 2));
  EXPECT_THAT(used({3, 3, 3}).weights, ElementsAre(1, 1, 1));
  EXPECT_THAT(used({0.3, 0.7}).weights, ElementsAre(3, 7));
  EXPECT_THAT(used({0.1, 0.2, 0.7}).weights, ElementsAre(1, 2, 7));
  EXPECT_THAT(used({0.33333, 0.33333, 0.33333}).weights, ElementsAre(1, 1, 1));
  EXPECT_THAT(used({0.125, 2}).weights, ElementsAre(1, 16));
  EXPECT_TRUE(used({0.3, 0.7}).exact);
  EXPECT_EQ(used({0.3, 0.7}).total, 10);
}

TEST(IntegerWeights, OthersAreQuantisedToAPowerOfTwo) {
  const IntegerWeights thirds = used({0.33333, 0.66667});
  EXPECT_FALSE(thirds.exact);
  EXPECT_EQ(thirds.total, 1 << 20);
  EXPECT_THAT(thirds.weights, ElementsAre(349522, 699054));
  EXPECT_THAT(used({1e-9, 1}).weights, ElementsAre(1, (1 << 20) - 1)) << "a positive weight stays";
  const std::vector<std::string> names{"a", "b"};
  const std::vector<double> asked{0.33333, 0.66667};
  EXPECT_THAT(quantisation_lines(names, asked, thirds),
              ElementsAre("a: asked 0.33333, used 349522/2^20", "b: asked 0.66667, used 699054/2^20"));
  EXPECT_TRUE(quantisation_lines(names, std::vector<double>{1, 2}, used({1, 2})).empty());
}

TEST(IntegerWeights, AnyWeightsAddUpAndAreNear) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream stream(seed, 9);
    std::vector<double> asked(1 + stream.below(4));
    std::ranges::generate(asked, [&] { return std::exp(4 * stream.normal()); });
    const IntegerWeights result = used(asked);
    EXPECT_EQ(std::accumulate(result.weights.begin(), result.weights.end(), std::int64_t{0}), result.total);
    const double sum = std::accumulate(asked.begin(), asked.end(), 0.0);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      EXPECT_GE(result.weights[i], 1);
      // Half a unit by rounding; the largest takes what is left over: up to half a unit, or one, for each other.
      EXPECT_NEAR(static_cast<double>(result.weights[i]) / static_cast<double>(result.total), asked[i] / sum,
                  4 * 0x1p-20);
    }
  }
}

TEST(IntegerWeights, RulesShareTheTotal) {
  const IntegerWeights result = used({1, 1}, {{"x", {{"a", 2}}}, {"y", {{"b", 0}}}});
  EXPECT_TRUE(result.exact);
  EXPECT_EQ(result.total, 6);
  EXPECT_THAT(result.weights, ElementsAre(3, 3));
  EXPECT_EQ(result.rules[0].weights, (std::map<std::string, double>{{"a", 4}, {"b", 2}}));
  EXPECT_EQ(result.rules[1].weights, (std::map<std::string, double>{{"a", 6}, {"b", 0}}));
  EXPECT_EQ(used({1, 1}, {{"x", {{"a", 0.33333}}}}).total, 1 << 20);
}

TEST(IntegerWeights, Refusals) {
  EXPECT_THAT(refusal([] { used({1, 0}); }), HasSubstr("ingredient b has weight 0"));
  EXPECT_THAT(refusal([] { used({1, -1}); }), HasSubstr("weight -1"));
  EXPECT_THAT(refusal([] { used({NAN, 1}); }), HasSubstr("weight nan"));
  EXPECT_THAT(refusal([] { used({1e308, 1e308}); }), HasSubstr("add up to inf"));
  EXPECT_THAT(refusal([] {
                used({1, 1}, {{"x", {{"a", 0}, {"b", 0}}}});
              }),
              HasSubstr("in the rule for \"x\" add up to 0"));
}

TEST(PullBack, IsAMeanWithTheBaseAsATerm) {
  EXPECT_THAT(pulled_back(std::vector<double>{1, 1, 1}, 0.5), ElementsAre(0.5, 0.5, 0.5, 1.5));
  EXPECT_THAT(used(pulled_back(std::vector<double>{1, 1, 1}, 0.5)).weights, ElementsAre(1, 1, 1, 3));
  EXPECT_THAT(used(pulled_back(std::vector<double>{1, 1}, 0.7)).weights, ElementsAre(7, 7, 6));
  for (const double lambda : {0.0, 1.0, -0.5, 1.5, static_cast<double>(NAN)}) {
    EXPECT_THAT(refusal([&] { static_cast<void>(pulled_back(std::vector<double>{1}, lambda)); }),
                HasSubstr("0 < lambda < 1"));
  }
}

TEST(PullBack, ScaleLeavesRoom) {
  EXPECT_EQ(scale_bits_for(1), 44);
  EXPECT_EQ(scale_bits_for(1 << 12), 44);
  EXPECT_EQ(scale_bits_for((1 << 12) + 1), 43);
  EXPECT_EQ(scale_bits_for(1 << 20), 36);
}

}  // namespace
}  // namespace soup
