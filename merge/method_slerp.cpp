// SLERP: two models interpolated along the arc between them, tensor by tensor.
#include <fmt/format.h>

#include <cmath>

#include "core/error.hpp"
#include "merge/method.hpp"
#include "merge/ordered_sum.hpp"

namespace soup {

namespace {

class SlerpTensor : public TensorBlend {
 public:
  explicit SlerpTensor(double t) : t_(t), first_(1.0 - t), second_(t) {}

  void collect(int, const Strip& strip) override {
    const auto [a, b] = std::pair(strip.models[0], strip.models[1]);
    products_.add(strip.number(), {dot(a, a), dot(a, b), dot(b, b)});
  }

  void end_pass(int) override {
    const std::vector<double>& products = products_.totals();
    const double lengths = std::sqrt(products[0]) * std::sqrt(products[2]);
    const double cosine = products[1] / lengths;
    // Beyond, the arc is a straight line to within rounding, or (opposite vectors) has no direction. A tensor of zeros
    // has no angle at all.
    constexpr double nearly_parallel = 1.0 - 0x1p-40;
    if (!(std::abs(cosine) < nearly_parallel)) {
      return;
    }
    // Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985, section 3.3:
    // Slerp(a, b; u) = sin((1 - u) theta) / sin(theta) a + sin(u theta) / sin(theta) b, a . b = cos(theta).
    const double theta = std::acos(cosine);
    first_ = std::sin((1.0 - t_) * theta) / std::sin(theta);
    second_ = std::sin(t_ * theta) / std::sin(theta);
  }

  void blend(const Strip& strip, std::span<double> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = first_ * strip.models[0][i] + second_ * strip.models[1][i];
    }
  }

 private:
  double t_;
  double first_;   // factor of the first model; linear until the angle says otherwise
  double second_;  // and of the second
  OrderedSum products_{3};
};

class Slerp : public Method {
 public:
  [[nodiscard]] int passes() const override { return 1; }
  [[nodiscard]] bool needs_base() const override { return false; }

  void require_usable(std::span<const double> weights, std::string_view where) const override {
    if (weights.size() != 2) {
      throw ConfigError(fmt::format("slerp merges two models, but there are {}", weights.size()),
                        "an arc has two ends; merge two first, then the result with the third");
    }
    if (!(weights[0] >= 0.0 && weights[1] >= 0.0 && weights[0] + weights[1] > 0.0 &&
          std::isfinite(weights[0] + weights[1]))) {
      throw ConfigError(fmt::format("slerp with weights {} and {}{}", weights[0], weights[1], where),
                        "weights are 0 or more; w2 / (w1 + w2) is how far the result lies towards the second model");
    }
  }

  [[nodiscard]] std::unique_ptr<TensorBlend> begin(const BlendTensor& tensor) const override {
    return std::make_unique<SlerpTensor>(tensor.weights[1] / (tensor.weights[0] + tensor.weights[1]));
  }
};

}  // namespace

std::unique_ptr<Method> make_slerp() {
  return std::make_unique<Slerp>();
}

}  // namespace soup
