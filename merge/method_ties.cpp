// TIES: each fine-tuning's largest changes kept, a sign elected for each weight, and those that agree averaged.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "merge/deltas.hpp"
#include "merge/magnitude_selection.hpp"
#include "merge/method.hpp"

namespace soup {

namespace {

std::uint64_t kept_of(std::uint64_t elements, double density) {
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(density * static_cast<double>(elements))));
}

// Equation and steps: Yadav et al. 2023, arXiv 2306.01708, section 4.2 and algorithm 1.
class TiesTensor : public TensorBlend {
 public:
  TiesTensor(const BlendTensor& tensor, const DeltaSettings& settings)
      : deltas_(tensor, settings), weights_(tensor.weights), lambda_(settings.lambda) {
    for (std::size_t i = 0; settings.density < 1.0 && i < weights_.size(); ++i) {
      largest_.push_back(std::make_unique<MagnitudeSelection>(kept_of(tensor.elements, settings.density)));
    }
  }

  void collect(int pass, const Strip& strip) override {
    std::vector<double> delta(strip.count());
    for (std::size_t model = 0; model < weights_.size(); ++model) {
      deltas_.take(strip, model, delta);
      largest_[model]->count(pass, delta);
    }
  }

  void end_pass(int pass) override {
    for (const std::unique_ptr<MagnitudeSelection>& selection : largest_) {
      selection->end_pass(pass);
    }
  }

  void blend(const Strip& strip, std::span<double> out) const override {
    const std::size_t count = strip.count();
    std::vector<double> deltas(weights_.size() * count);
    std::vector<double> elected(count, 0.0);  // its sign is the elected one: gamma = sgn(sum_t tau_t)
    const auto delta_of = [&](std::size_t model) { return std::span(deltas).subspan(model * count, count); };
    for (std::size_t model = 0; model < weights_.size(); ++model) {
      const std::span<double> delta = delta_of(model);
      deltas_.take(strip, model, delta);
      trim(model, delta);
      for (std::size_t i = 0; i < count; ++i) {
        elected[i] += weights_[model] * delta[i];
      }
    }
    // tau = 1 / |A| sum_{t in A} tau_t, A = {t: sgn(tau_t) = gamma}; here both sums are weighted.
    std::vector<double> agreeing(count, 0.0);
    std::ranges::fill(out, 0.0);
    for (std::size_t model = 0; model < weights_.size(); ++model) {
      const std::span<const double> delta = delta_of(model);
      for (std::size_t i = 0; i < count; ++i) {
        const bool agrees = (delta[i] > 0.0 && elected[i] > 0.0) || (delta[i] < 0.0 && elected[i] < 0.0);
        out[i] += agrees ? weights_[model] * delta[i] : 0.0;
        agreeing[i] += agrees ? weights_[model] : 0.0;
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = strip.base[i] + (agreeing[i] > 0.0 ? lambda_ * (out[i] / agreeing[i]) : 0.0);
    }
  }

 private:
  void trim(std::size_t model, std::span<double> delta) const {
    if (!largest_.empty()) {
      std::ranges::replace_if(
          delta, [&](double value) { return !largest_[model]->keeps(value); }, 0.0);
    }
  }

  Deltas deltas_;
  std::vector<double> weights_;
  double lambda_;
  std::vector<std::unique_ptr<MagnitudeSelection>> largest_;  // of each model; none where all is kept
};

class Ties : public Method {
 public:
  explicit Ties(const DeltaSettings& settings) : settings_(settings) {}

  [[nodiscard]] int passes() const override { return settings_.density < 1.0 ? MagnitudeSelection::passes : 0; }

  void require_usable(std::span<const double> weights, std::string_view where) const override {
    const auto other =
        std::ranges::find_if(weights, [](double weight) { return !(weight >= 0.0 && std::isfinite(weight)); });
    if (other != weights.end()) {
      throw ConfigError(fmt::format("ties with a weight of {}{}", *other, where),
                        "weights are 0 or more: those of changes that agree are averaged");
    }
  }

  [[nodiscard]] std::unique_ptr<TensorBlend> begin(const BlendTensor& tensor) const override {
    return std::make_unique<TiesTensor>(tensor, settings_);
  }

 private:
  DeltaSettings settings_;
};

}  // namespace

std::unique_ptr<Method> make_ties(const DeltaSettings& settings) {
  return std::make_unique<Ties>(settings);
}

}  // namespace soup
