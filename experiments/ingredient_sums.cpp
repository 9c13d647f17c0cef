// The soup on its way.
#include "experiments/ingredient_sums.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/model_folder.hpp"

namespace soup {

namespace {

// No soup of the run weighs more than all its shards.
std::int64_t weight_of_all(const Experiment& experiment) {
  std::int64_t total = 0;
  for (const ShardSpec& shard : experiment.data.shards) {
    total += shard.weight;
  }
  return total;
}

}  // namespace

int soup_slices(const Topology& topology) {
  return std::ranges::min(topology.group_sizes);
}

SoupOptions soup_options(const Experiment& experiment) {
  SoupOptions options;
  options.scale_bits = experiment.soup.scale_bits;
  return options;
}

TensorLayout layout_of(const Weights& weights) {
  TensorLayout layout;
  for (const WeightTensor& tensor : weights.tensors()) {
    layout.append(tensor.name, tensor.shape);
  }
  return layout;
}

Weights weights_of(const std::filesystem::path& folder, const std::string& part) {
  const ModelFolder model = open_model(folder);
  const ModelPart* found = model.find(part);
  if (found == nullptr) {
    throw DataError(folder / part, "holds no weights");
  }
  return open_part(model, *found);
}

void IngredientSums::add(const Stage& ingredient) {
  const std::filesystem::path folder = context_.folder_of(ingredient);
  const ShardSpec& shard = shard_of(ingredient, context_.experiment);
  for (const std::string& name : read_ingredient_record(folder).trained_parts) {
    const Weights weights = weights_of(folder, name);
    std::unique_ptr<Part>& part = parts_[name];
    if (part == nullptr) {
      part = std::make_unique<Part>(Part{layout_of(weights)});
      part->sums.emplace(part->layout, context_.topology.rank_in_group, soup_slices(context_.topology),
                         weight_of_all(context_.experiment), soup_options(context_.experiment));
    }
    part->sums->add({shard.name, shard.weight, from_weights(weights, part->layout)});
  }
}

const PartialSums* IngredientSums::find(const std::string& part) const {
  const auto found = parts_.find(part);
  return found == parts_.end() ? nullptr : &*found->second->sums;
}

}  // namespace soup
