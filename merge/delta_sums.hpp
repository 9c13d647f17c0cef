// How several models moved away from one base, as sums over weights: norms and cosines of their deltas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace soup {

// Sums over some of the weights, of deltas d_m = w_m - base. Adding the parts of a whole in one order gives the same
// bits every time.
class DeltaSums {
 public:
  DeltaSums() = default;
  explicit DeltaSums(std::size_t models) : models_(models), products_(models * (models + 1) / 2) {}

  // Adds `base.size()` weights; all values are finite. deltas[m] holds as many of model m.
  void add(std::span<const double> base, std::span<const std::vector<double>> deltas);
  void add(const DeltaSums& other);

  [[nodiscard]] std::size_t models() const { return models_; }
  [[nodiscard]] std::uint64_t elements() const { return elements_; }
  [[nodiscard]] double base_norm() const;               // |base|, L2
  [[nodiscard]] double norm(std::size_t model) const;   // |d|
  [[nodiscard]] double drift(std::size_t model) const;  // |d| / |base|; 0 where d is 0, infinite where only base is
  // (d_a . d_b) / (|d_a| |d_b|), in [-1, 1]; NaN where one of them is 0.
  [[nodiscard]] double cosine(std::size_t a, std::size_t b) const;

 private:
  // Of a pair in any order: the products are the lower triangle, row by row.
  [[nodiscard]] double product(std::size_t a, std::size_t b) const;

  std::size_t models_ = 0;
  std::uint64_t elements_ = 0;
  double base_square_ = 0.0;
  std::vector<double> products_;
};

}  // namespace soup
