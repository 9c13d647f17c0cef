// What fine-tuning changed in a tensor (task vectors), and DARE's random thinning of it.
#include "merge/deltas.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/error.hpp"
#include "core/random.hpp"

namespace soup {

Deltas::Deltas(const BlendTensor& tensor, const DeltaSettings& settings) : drop_(settings.drop), seed_(settings.seed) {
  for (const std::string& model : tensor.models) {
    scopes_.push_back(model + '\0' + tensor.name);  // names hold no zero byte, so no two pairs share a stream
  }
}

void Deltas::take(const Strip& strip, std::size_t model, std::span<double> out) const {
  SOUP_REQUIRE(strip.base.size() == strip.count() && out.size() == strip.count(), "a strip without its base");
  // Ilharco et al. 2023, arXiv 2212.04089, section 2: tau_t = theta_ft^t - theta_pre.
  std::ranges::transform(strip.models[model], strip.base, out.begin(), std::minus<>());
  if (drop_ > 0.0) {
    thin(strip, model, out);
  }
}

void Deltas::thin(const Strip& strip, std::size_t model, std::span<double> delta) const {
  // Yu et al. 2024, arXiv 2311.03099, section 3.2: m ~ Bernoulli(p), delta' = (1 - m) delta / (1 - p).
  RandomStream random = SeedTree(seed_).stream("dare", scopes_[model], strip.number());
  const auto below = static_cast<std::uint64_t>(std::llround(std::ldexp(drop_, 32)));
  const double kept = 1.0 - drop_;
  for (double& value : delta) {
    value = random.next_u32() < below ? 0.0 : value / kept;
  }
}

}  // namespace soup
