// Task arithmetic: what each fine-tuning changed, scaled and added to the base; with DARE's thinning where asked.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "merge/deltas.hpp"
#include "merge/method.hpp"

namespace soup {

namespace {

class ArithmeticTensor : public TensorBlend {
 public:
  ArithmeticTensor(const BlendTensor& tensor, const DeltaSettings& settings)
      : deltas_(tensor, settings), weights_(tensor.weights), lambda_(settings.lambda) {}

  void blend(const Strip& strip, std::span<double> out) const override {
    // Ilharco et al. 2023, arXiv 2212.04089, section 2: theta_new = theta + lambda tau_new, tau_new = sum_i tau_i for
    // addition and -tau for negation, here with a weight for each tau_i.
    std::vector<double> delta(out.size());
    std::ranges::fill(out, 0.0);
    for (std::size_t model = 0; model < weights_.size(); ++model) {
      deltas_.take(strip, model, delta);
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] += weights_[model] * delta[i];
      }
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = strip.base[i] + lambda_ * out[i];
    }
  }

 private:
  Deltas deltas_;
  std::vector<double> weights_;
  double lambda_;
};

class TaskArithmetic : public Method {
 public:
  explicit TaskArithmetic(const DeltaSettings& settings) : settings_(settings) {}

  void require_usable(std::span<const double> weights, std::string_view where) const override {
    const auto other = std::ranges::find_if(weights, [](double weight) { return !std::isfinite(weight); });
    if (other != weights.end()) {
      throw ConfigError(fmt::format("task arithmetic with a weight of {}{}", *other, where));
    }
  }

  [[nodiscard]] std::unique_ptr<TensorBlend> begin(const BlendTensor& tensor) const override {
    return std::make_unique<ArithmeticTensor>(tensor, settings_);
  }

 private:
  DeltaSettings settings_;
};

}  // namespace

std::unique_ptr<Method> make_task_arithmetic(const DeltaSettings& settings) {
  return std::make_unique<TaskArithmetic>(settings);
}

}  // namespace soup
