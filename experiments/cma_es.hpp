// CMA-ES, the evolution strategy with covariance matrix adaptation (Hansen, "The CMA Evolution Strategy: A Tutorial",
// arXiv 1604.00772): minimises a function of which only the order of its values is known. Asked for points, told their
// order.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <vector>

#include "core/random.hpp"

namespace soup {

class CmaEs {
 public:
  // From the origin of R^dimensions with standard deviation `sigma` in every direction; `population` points a
  // generation, 2 or more.
  CmaEs(std::size_t dimensions, double sigma, std::size_t population);

  // 4 + floor(3 ln n) (table 1).
  static std::size_t default_population(std::size_t dimensions);

  // The points of a generation, one a column: mean + sigma * N(0, C).
  [[nodiscard]] Eigen::MatrixXd ask(RandomStream& stream) const;
  // The same points, the best first: moves the mean, and adapts step and covariance (figure 6).
  void tell(const Eigen::MatrixXd& best_first);

  [[nodiscard]] const Eigen::VectorXd& mean() const { return mean_; }
  [[nodiscard]] double sigma() const { return sigma_; }
  // Largest standard deviation in any direction.
  [[nodiscard]] double spread() const { return sigma_ * scales_.maxCoeff(); }

 private:
  void decompose();

  Eigen::Index dimensions_;
  Eigen::Index population_;
  Eigen::VectorXd weights_;  // of the points by rank; those of the worse half are negative
  double effective_ = 0.0;   // variance effective selection mass of the better half, mu_eff
  double step_rate_ = 0.0;   // c_sigma
  double damping_ = 0.0;     // d_sigma
  double path_rate_ = 0.0;   // c_c
  double one_rate_ = 0.0;    // c_1
  double mu_rate_ = 0.0;     // c_mu
  double expected_ = 0.0;    // E |N(0, I)|
  int generation_ = 0;

  double sigma_;
  Eigen::VectorXd mean_;
  Eigen::VectorXd step_path_;   // p_sigma
  Eigen::VectorXd path_;        // p_c
  Eigen::MatrixXd covariance_;  // C = B D^2 B^T
  Eigen::MatrixXd directions_;  // B
  Eigen::VectorXd scales_;      // diagonal of D
};

}  // namespace soup
