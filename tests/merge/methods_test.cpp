// Every method against the formulas of its paper, computed naively over whole tensors in long double.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/random.hpp"
#include "merge/merge_files.hpp"
#include "merge/method.hpp"
#include "tests/merge/plain_models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

using Vector = std::vector<long double>;

struct Tensors {  // one tensor of all models
  std::string name;
  std::vector<std::string> names;
  std::vector<Vector> models;
  Vector base;
};

Vector minus(const Vector& a, const Vector& b) {
  Vector result = a;
  for (std::size_t i = 0; i < a.size(); ++i) {
    result[i] -= b[i];
  }
  return result;
}

long double inner(const Vector& a, const Vector& b) {
  long double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

Vector combined(const std::vector<long double>& factors, const std::vector<Vector>& vectors) {
  Vector result(vectors.front().size(), 0);
  for (std::size_t k = 0; k < vectors.size(); ++k) {
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] += factors[k] * vectors[k][i];
    }
  }
  return result;
}

// DARE: elements e of strips of 4096 are dropped where the strip's stream draws below p.
Vector thinned(Vector delta, const std::string& model, const std::string& tensor, double drop, std::uint64_t seed) {
  std::string scope = model;
  scope.push_back('\0');
  scope += tensor;
  for (std::size_t e = 0; e < delta.size(); ++e) {
    if (e % 4096 == 0) {
      RandomStream stream = SeedTree(seed).stream("dare", scope, e / 4096);
      for (std::size_t i = e; i < std::min(e + 4096, delta.size()); ++i) {
        const bool is_dropped = stream.next_u32() < drop * 0x1p32;
        delta[i] = is_dropped ? 0 : static_cast<double>(delta[i]) / (1.0 - drop);
      }
    }
  }
  return delta;
}

// TIES trim: all but the k largest are 0.
Vector trimmed(const Vector& delta, double density) {
  const auto magnitude = [](long double value) { return static_cast<float>(std::abs(static_cast<double>(value))); };
  std::vector<float> sorted;
  std::ranges::transform(delta, std::back_inserter(sorted), magnitude);
  std::ranges::sort(sorted, std::greater<>());
  const auto kept =
      std::max<std::size_t>(1, static_cast<std::size_t>(std::llround(density * static_cast<double>(sorted.size()))));
  Vector result = delta;
  for (long double& value : result) {
    value = magnitude(value) >= sorted[kept - 1] ? value : 0;
  }
  return result;
}

Vector ties_of(const std::vector<Vector>& deltas, const std::vector<long double>& weights) {
  Vector merged(deltas.front().size(), 0);
  for (std::size_t i = 0; i < merged.size(); ++i) {
    long double votes = 0;
    for (std::size_t k = 0; k < deltas.size(); ++k) {
      votes += weights[k] * deltas[k][i];
    }
    long double sum = 0;
    long double count = 0;
    for (std::size_t k = 0; k < deltas.size(); ++k) {
      if (votes * deltas[k][i] > 0) {
        sum += weights[k] * deltas[k][i];
        count += weights[k];
      }
    }
    merged[i] = count > 0 ? sum / count : 0;
  }
  return merged;
}

class MethodsTest : public testing::TestWithParam<DType> {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
  std::vector<MergeInput> inputs_;

  void write(const std::vector<std::pair<std::string, double>>& models, bool with_base, double shared = 0.0) {
    for (const auto& [name, weight] : models) {
      inputs_.push_back(test::write_plain(root_, name, {.dtype = GetParam(), .shared = shared}));
      inputs_.back().asked = weight;
    }
    if (with_base) {
      inputs_.push_back(test::write_plain(root_, "base", {.dtype = GetParam()}));
      inputs_.back().is_base = true;
    }
  }

  // Merges to F64 and compares every tensor with what `oracle` makes of it.
  void expect(const MethodSettings& settings, const std::function<Vector(const Tensors&)>& oracle) {
    MergeOptions options;
    options.method = settings;
    options.dtype = DType::f64;
    merge(inputs_, root_ / "soup.safetensors", options);
    const test::Values soup = test::values_of(root_ / "soup.safetensors");
    ASSERT_EQ(soup.size(), 3u);
    for (const auto& [name, found] : soup) {
      Tensors tensors{name, {}, {}, {}};
      for (const MergeInput& input : inputs_) {
        const std::vector<double> values = test::values_of(input.path).at(name);
        if (input.is_base) {
          tensors.base.assign(values.begin(), values.end());
        } else {
          tensors.names.push_back(input.name);
          tensors.models.emplace_back(values.begin(), values.end());
        }
      }
      const Vector expected = oracle(tensors);
      ASSERT_EQ(found.size(), expected.size());
      long double largest = 0;
      for (std::size_t i = 0; i < found.size(); ++i) {
        largest = std::max(largest, std::abs(found[i] - expected[i]));
      }
      // Values are below 1 and go through some ten roundings to 53 bits; sums over a tensor through some thousands.
      EXPECT_LT(largest, 1e-14L) << name;
    }
  }
};

TEST_P(MethodsTest, TaskArithmeticAddsAndNegates) {
  write({{"a", 1.0}, {"b", -0.5}, {"c", 2.0}}, true);
  expect({"task_arithmetic", {{"lambda", 0.7}}, {}}, [](const Tensors& t) {
    return combined({1, 0.7L * 1, 0.7L * -0.5L, 0.7L * 2},
                    {t.base, minus(t.models[0], t.base), minus(t.models[1], t.base), minus(t.models[2], t.base)});
  });
}

TEST_P(MethodsTest, TiesTrimsElectsAndAveragesThoseThatAgree) {
  write({{"a", 1.0}, {"b", 1.0}, {"c", 3.0}}, true);
  expect({"ties", {{"density", 0.3}, {"lambda", 0.9}}, {}}, [](const Tensors& t) {
    std::vector<Vector> deltas;
    for (const Vector& model : t.models) {
      deltas.push_back(trimmed(minus(model, t.base), 0.3));
    }
    return combined({1, 0.9L}, {t.base, ties_of(deltas, {1, 1, 3})});
  });
}

TEST_P(MethodsTest, DareDropsAndRescales) {
  write({{"a", 1.0}, {"b", 0.5}}, true);
  expect({"dare_linear", {{"drop", 0.8}}, 7}, [](const Tensors& t) {
    std::vector<Vector> deltas;
    for (std::size_t k = 0; k < 2; ++k) {
      deltas.push_back(thinned(minus(t.models[k], t.base), t.names[k], t.name, 0.8, 7));
    }
    return combined({1, 1, 0.5L}, {t.base, deltas[0], deltas[1]});
  });
}

TEST_P(MethodsTest, DareWithTies) {
  write({{"a", 1.0}, {"b", 1.0}, {"c", 1.0}}, true);
  expect({"dare_ties", {{"drop", 0.5}, {"density", 0.25}, {"lambda", 1.5}}, 1}, [](const Tensors& t) {
    std::vector<Vector> deltas;
    for (std::size_t k = 0; k < 3; ++k) {
      deltas.push_back(trimmed(thinned(minus(t.models[k], t.base), t.names[k], t.name, 0.5, 1), 0.25));
    }
    return combined({1, 1.5L}, {t.base, ties_of(deltas, {1, 1, 1})});
  });
}

TEST_P(MethodsTest, SlerpFollowsTheArc) {
  write({{"a", 3.0}, {"b", 1.0}}, false);
  expect({"slerp", {}, {}}, [](const Tensors& t) {
    const Vector& a = t.models[0];
    const Vector& b = t.models[1];
    const long double theta = std::acos(inner(a, b) / std::sqrt(inner(a, a) * inner(b, b)));
    EXPECT_GT(theta, 0.2L) << "too near for a difference to a line";
    // The point at a quarter of the angle, in the orthonormal frame of a and of what of b is orthogonal to it.
    const long double along_b = std::sin(theta / 4) / std::sin(theta);
    return combined({std::cos(theta / 4) - along_b * std::cos(theta), along_b}, {a, b});
  });
}

TEST_P(MethodsTest, ModelStockInterpolatesByTheAngle) {
  write({{"a", 1.0}, {"b", 1.0}, {"c", 1.0}}, true, 1.0);
  expect({"model_stock", {}, {}}, [](const Tensors& t) {
    long double cosines = 0;
    for (const auto& [i, j] : {std::pair{0, 1}, {0, 2}, {1, 2}}) {
      const Vector x = minus(t.models[i], t.base);
      const Vector y = minus(t.models[j], t.base);
      cosines += inner(x, y) / std::sqrt(inner(x, x)) / std::sqrt(inner(y, y));
    }
    const long double cosine = std::max(0.0L, cosines / 3);
    EXPECT_GT(cosine, 0.1L);
    const long double ratio = 3 * cosine / (1 + 2 * cosine);
    return combined({1 - ratio, ratio / 3, ratio / 3, ratio / 3}, {t.base, t.models[0], t.models[1], t.models[2]});
  });
}

INSTANTIATE_TEST_SUITE_P(Types, MethodsTest, testing::Values(DType::f64, DType::f32, DType::f16, DType::bf16),
                         [](const auto& type) { return std::string(name_of(type.param)); });

// Answers known without arithmetic.
class MethodIdentities : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
  MergeInput base_ = [this] {
    MergeInput input = test::write_plain(root_, "base");
    input.is_base = true;
    return input;
  }();

  test::Values soup_of(const std::vector<MergeInput>& inputs, const MethodSettings& settings) {
    MergeOptions options;
    options.method = settings;
    options.work.overwrite = true;
    merge(inputs, root_ / "soup.safetensors", options);
    return test::values_of(root_ / "soup.safetensors");
  }
};

TEST_F(MethodIdentities, OneModelUnthinnedIsItself) {
  const MergeInput a = test::write_plain(root_, "a");
  const test::Values model = test::values_of(a.path);
  // base + (model - base) in double is the model once rounded to F32.
  EXPECT_EQ(soup_of({a, base_}, {"task_arithmetic", {}, {}}), model);
  EXPECT_EQ(soup_of({a, base_}, {"ties", {{"density", 1.0}}, {}}), model);
  EXPECT_EQ(soup_of({a, base_}, {"dare_linear", {{"drop", 0.0}}, {}}), model);
}

TEST_F(MethodIdentities, EqualModelsStayWhatTheyAre) {
  const MergeInput a = test::write_plain(root_, "a");
  const MergeInput b{"b", a.path};
  const test::Values model = test::values_of(a.path);
  EXPECT_EQ(soup_of({a, b}, {"slerp", {}, {}}), model) << "parallel: linear";
  EXPECT_EQ(soup_of({a, b, base_}, {"model_stock", {}, {}}), model) << "cos = 1: t = 1";
}

TEST_F(MethodIdentities, ModelsThatPullApartStockTheBase) {
  // c = 2 base - a: exactly opposite differences, rounded to F32.
  const MergeInput a = test::write_plain(root_, "a");
  MergeInput mirrored = a;
  mirrored.asked = -1.0;
  MergeOptions options;
  options.method = MethodSettings{"task_arithmetic", {}, {}};
  merge({mirrored, base_}, root_ / "c.safetensors", options);
  EXPECT_EQ(soup_of({a, {"c", root_ / "c.safetensors"}, base_}, {"model_stock", {}, {}}), test::values_of(base_.path));
}

TEST_F(MethodIdentities, DareDropsTheShareAskedForAndKeepsTheMean) {
  const MergeInput a = test::write_plain(root_, "a");
  const std::vector<double> base = test::values_of(base_.path).at("down_blocks.0.weight");
  const std::vector<double> soup = soup_of({a, base_}, {"dare_linear", {{"drop", 0.9}}, 3}).at("down_blocks.0.weight");
  const auto dropped = static_cast<double>(std::ranges::count(
      soup, true, [&, i = 0](double value) mutable { return value == base[static_cast<std::size_t>(i++)]; }));
  // Binomial(150000, 0.9): standard deviation 116.
  EXPECT_NEAR(dropped, 135000.0, 5 * 116.0);
  EXPECT_NE(soup_of({a, base_}, {"dare_linear", {{"drop", 0.9}}, 4}).at("down_blocks.0.weight"), soup);
  EXPECT_EQ(soup_of({a, base_}, {"dare_linear", {{"drop", 0.9}}, 3}).at("down_blocks.0.weight"), soup);
}

}  // namespace
}  // namespace soup
