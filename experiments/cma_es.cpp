// CMA-ES as in figure 6 of the tutorial (Hansen 2016, arXiv 1604.00772), with the default settings of its table 1;
// names in comments are those of the tutorial.
#include "experiments/cma_es.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace soup {

CmaEs::CmaEs(std::size_t dimensions, double sigma, std::size_t population)
    : dimensions_(static_cast<Eigen::Index>(dimensions)),
      population_(static_cast<Eigen::Index>(population)),
      sigma_(sigma) {
  SOUP_REQUIRE(dimensions >= 1 && sigma > 0.0 && population >= 2, "a search without dimensions, step or points");
  const auto n = static_cast<double>(dimensions);
  const auto count = static_cast<double>(population);
  const Eigen::Index better = population_ / 2;  // mu
  weights_.resize(population_);
  for (Eigen::Index i = 0; i < population_; ++i) {
    weights_[i] = std::log((count + 1.0) / 2.0) - std::log(static_cast<double>(i + 1));  // w'_i
  }
  const auto head = weights_.head(better);
  const auto tail = weights_.tail(population_ - better);
  const auto mass = [](const auto& weights) { return weights.sum() * weights.sum() / weights.squaredNorm(); };
  effective_ = mass(head);
  step_rate_ = (effective_ + 2.0) / (n + effective_ + 5.0);
  damping_ = 1.0 + 2.0 * std::max(0.0, std::sqrt((effective_ - 1.0) / (n + 1.0)) - 1.0) + step_rate_;
  path_rate_ = (4.0 + effective_ / n) / (n + 4.0 + 2.0 * effective_ / n);
  one_rate_ = 2.0 / ((n + 1.3) * (n + 1.3) + effective_);
  mu_rate_ = std::min(1.0 - one_rate_,
                      2.0 * (0.25 + effective_ + 1.0 / effective_ - 2.0) / ((n + 2.0) * (n + 2.0) + effective_));
  // The worse half's weights are scaled so that the covariance stays positive definite.
  const double most = std::min({1.0 + one_rate_ / mu_rate_, 1.0 + 2.0 * mass(tail) / (effective_ + 2.0),
                                (1.0 - one_rate_ - mu_rate_) / (n * mu_rate_)});
  const double positive = weights_.cwiseMax(0.0).sum();
  const double negative = -weights_.cwiseMin(0.0).sum();
  for (double& weight : weights_) {
    weight *= weight >= 0.0 ? 1.0 / positive : most / negative;
  }
  expected_ = std::sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
  mean_ = step_path_ = path_ = Eigen::VectorXd::Zero(dimensions_);
  covariance_ = directions_ = Eigen::MatrixXd::Identity(dimensions_, dimensions_);
  scales_ = Eigen::VectorXd::Ones(dimensions_);
}

std::size_t CmaEs::default_population(std::size_t dimensions) {
  return 4 + static_cast<std::size_t>(3.0 * std::log(static_cast<double>(dimensions)));
}

Eigen::MatrixXd CmaEs::ask(RandomStream& stream) const {
  Eigen::MatrixXd points(dimensions_, population_);
  for (Eigen::Index point = 0; point < population_; ++point) {
    Eigen::VectorXd normal(dimensions_);
    for (double& value : normal) {
      value = stream.normal();
    }
    points.col(point) = mean_ + sigma_ * (directions_ * scales_.cwiseProduct(normal));
  }
  return points;
}

void CmaEs::tell(const Eigen::MatrixXd& best_first) {
  SOUP_REQUIRE(best_first.rows() == dimensions_ && best_first.cols() == population_, "points that were not asked for");
  const auto n = static_cast<double>(dimensions_);
  ++generation_;
  const Eigen::MatrixXd steps = (best_first.colwise() - mean_) / sigma_;  // y_i
  const Eigen::VectorXd mean_step = steps * weights_.cwiseMax(0.0);       // <y>_w
  mean_ += sigma_ * mean_step;                                            // c_m = 1
  // C^-1/2 = B D^-1 B^T
  const auto whiten = [this](const auto& step) {
    return Eigen::VectorXd(directions_ * (directions_.transpose() * step).cwiseQuotient(scales_));
  };
  step_path_ =
      (1.0 - step_rate_) * step_path_ + std::sqrt(step_rate_ * (2.0 - step_rate_) * effective_) * whiten(mean_step);
  const double length = step_path_.norm();
  sigma_ *= std::exp(step_rate_ / damping_ * (length / expected_ - 1.0));
  // h_sigma stalls the path while the step is far too short, so that C does not grow too quickly.
  const double settled = std::sqrt(1.0 - std::pow(1.0 - step_rate_, 2.0 * generation_));
  const bool moves = length / settled < (1.4 + 2.0 / (n + 1.0)) * expected_;
  path_ *= 1.0 - path_rate_;
  if (moves) {
    path_ += std::sqrt(path_rate_ * (2.0 - path_rate_) * effective_) * mean_step;
  }
  const double stalled = moves ? 0.0 : path_rate_ * (2.0 - path_rate_);
  Eigen::MatrixXd next = (1.0 + one_rate_ * stalled - one_rate_ - mu_rate_ * weights_.sum()) * covariance_ +
                         one_rate_ * path_ * path_.transpose();
  for (Eigen::Index i = 0; i < population_; ++i) {
    const auto step = steps.col(i);
    // Of the worse half only the direction counts.
    const double weight = weights_[i] >= 0.0 ? weights_[i] : weights_[i] * n / whiten(step).squaredNorm();
    next += mu_rate_ * weight * step * step.transpose();
  }
  covariance_ = (next + next.transpose()) / 2.0;
  decompose();
}

void CmaEs::decompose() {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance_);
  SOUP_REQUIRE(solver.info() == Eigen::Success, "a covariance without eigenvalues");
  directions_ = solver.eigenvectors();
  // Rounding may leave nothing, or less, of the least.
  scales_ = solver.eigenvalues().cwiseMax(1e-20).cwiseSqrt();
}

}  // namespace soup
