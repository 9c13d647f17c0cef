// The soup on its way: this rank's share of the sums of ingredients that its group has finished, in memory, so that the
// run's soups need not read them again. No torch.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/tensor_layout.hpp"
#include "experiments/run_context.hpp"
#include "merge/soup.hpp"
#include "merge/weights.hpp"

namespace soup {

// How many slices the run's soups are cut into: the ranks of its smallest group.
int soup_slices(const Topology& topology);
SoupOptions soup_options(const Experiment& experiment);

// Names and shapes of a part of a model folder, and its weights.
TensorLayout layout_of(const Weights& weights);
Weights weights_of(const std::filesystem::path& folder, const std::string& part);

class IngredientSums {
 public:
  explicit IngredientSums(const RunContext& context) : context_(context) {}

  // Reads the trained parts of a finished ingredient (this rank's slices of them). Throws DataError.
  void add(const Stage& ingredient);
  // nullptr where nothing was added.
  [[nodiscard]] const PartialSums* find(const std::string& part) const;

 private:
  struct Part {
    TensorLayout layout;
    std::optional<PartialSums> sums = {};
  };
  const RunContext& context_;
  std::map<std::string, std::unique_ptr<Part>> parts_;
};

}  // namespace soup
