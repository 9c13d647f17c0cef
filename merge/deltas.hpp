// What fine-tuning changed in a tensor (task vectors), and DARE's random thinning of it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "merge/method.hpp"

namespace soup {

class Deltas {
 public:
  // Of one tensor.
  Deltas(const BlendTensor& tensor, const DeltaSettings& settings);

  // out = model - base, thinned where settings.drop > 0; [strip.count()]. Which elements are dropped is a function of
  // seed, ingredient's and tensor's name and the element's number, and of nothing else.
  void take(const Strip& strip, std::size_t model, std::span<double> out) const;

 private:
  void thin(const Strip& strip, std::size_t model, std::span<double> delta) const;

  std::vector<std::string> scopes_;  // of each model's random stream
  double drop_;
  std::uint64_t seed_;
};

}  // namespace soup
