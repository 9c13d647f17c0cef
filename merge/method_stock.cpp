// Model stock: fine-tuned models' mean, drawn towards the base as far as the angles between them say.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "merge/method.hpp"
#include "merge/ordered_sum.hpp"

namespace soup {

namespace {

class StockTensor : public TensorBlend {
 public:
  explicit StockTensor(std::size_t models) : models_(models), products_(models * (models + 1) / 2) {}

  void collect(int, const Strip& strip) override {
    std::vector<std::vector<double>> deltas;
    for (const std::span<const double> model : strip.models) {
      std::vector<double>& delta = deltas.emplace_back(model.size());
      std::ranges::transform(model, strip.base, delta.begin(), std::minus<>());
    }
    std::vector<double> products;
    for (std::size_t i = 0; i < models_; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        products.push_back(dot(deltas[i], deltas[j]));
      }
    }
    products_.add(strip.number(), std::move(products));
  }

  void end_pass(int) override {
    const auto product = [this](std::size_t i, std::size_t j) { return products_.totals()[i * (i + 1) / 2 + j]; };
    double sum = 0.0;
    for (std::size_t i = 1; i < models_; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const double lengths = std::sqrt(product(i, i)) * std::sqrt(product(j, j));
        sum += lengths > 0.0 ? product(i, j) / lengths : 0.0;  // a model that is the base here has no direction
      }
    }
    const auto k = static_cast<double>(models_);
    // The paper's angle is that between any two models, which it finds to be nearly the same; here the mean of the
    // cosines. Below 0 the models pull apart, and the formula would leave the segment between base and mean.
    const double cosine = std::clamp(sum / (k * (k - 1.0) / 2.0), 0.0, 1.0);
    // Jang et al. 2024, arXiv 2403.19522, section 4, the ratio for N models:
    // w_H = t w_avg + (1 - t) w_0, t = N cos(theta) / (1 + (N - 1) cos(theta)).
    t_ = k * cosine / (1.0 + (k - 1.0) * cosine);
  }

  void blend(const Strip& strip, std::span<double> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      double sum = 0.0;
      for (const std::span<const double> model : strip.models) {
        sum += model[i];
      }
      out[i] = t_ * (sum / static_cast<double>(models_)) + (1.0 - t_) * strip.base[i];
    }
  }

 private:
  std::size_t models_;
  OrderedSum products_;  // of deltas i and j <= i, at i (i + 1) / 2 + j
  double t_ = 0.0;
};

class ModelStock : public Method {
 public:
  [[nodiscard]] int passes() const override { return 1; }

  void require_usable(std::span<const double> weights, std::string_view where) const override {
    if (weights.size() < 2) {
      throw ConfigError("model_stock needs two or more models beside the base: it weighs them by their angle");
    }
    const auto other = std::ranges::find_if(weights, [](double weight) { return weight != 1.0; });
    if (other != weights.end()) {
      throw ConfigError(fmt::format("model_stock with a weight of {}{}", *other, where),
                        "it has no weights: it finds its own, from the angles");
    }
  }

  [[nodiscard]] std::unique_ptr<TensorBlend> begin(const BlendTensor& tensor) const override {
    return std::make_unique<StockTensor>(tensor.models.size());
  }
};

}  // namespace

std::unique_ptr<Method> make_model_stock() {
  return std::make_unique<ModelStock>();
}

}  // namespace soup
