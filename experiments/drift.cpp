#include "experiments/drift.hpp"

#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/metrics.hpp"
#include "merge/difference.hpp"

namespace soup {

namespace {

// A sum that leaves out weights which are not numbers would look sound.
std::vector<bool> all_finite(const Difference& difference) {
  std::vector<bool> finite(difference.models.size(), true);
  for (const PartDifference& part : difference.parts) {
    for (const TensorDifference& tensor : part.tensors) {
      for (std::size_t model = 0; model < finite.size(); ++model) {
        finite[model] = finite[model] && tensor.base_not_finite.count + tensor.not_finite[model].count == 0;
      }
    }
  }
  return finite;
}

}  // namespace

Drift measure_drift(const std::filesystem::path& base,
                    const std::vector<std::pair<std::string, std::filesystem::path>>& models) {
  std::vector<DifferenceInput> inputs;
  for (const auto& [name, folder] : models) {
    inputs.push_back({name, folder / "unet"});
  }
  const Difference difference = measure_difference(DifferenceInput{"base", base / "unet"}, inputs);
  const DeltaSums sums = total_row(difference).sums;
  const std::vector<bool> finite = all_finite(difference);
  Drift drift;
  drift.cosines.assign(models.size(), {});
  for (std::size_t a = 0; a < models.size(); ++a) {
    drift.models.push_back(models[a].first);
    drift.relative.push_back(finite[a] ? sums.drift(a) : nan);
    for (std::size_t b = 0; b < models.size(); ++b) {
      drift.cosines[a].push_back(finite[a] && finite[b] ? sums.cosine(a, b) : nan);
    }
  }
  return drift;
}

void write_drift(const std::filesystem::path& path, const Drift& drift) {
  const nlohmann::json json = {{"models", drift.models}, {"relative", drift.relative}, {"cosines", drift.cosines}};
  write_file_atomically(path, json.dump(1) + "\n");
}

Drift read_drift(const std::filesystem::path& path) {
  const auto numbers = [](const nlohmann::json& list) {
    std::vector<double> values;
    for (const auto& value : list) {
      values.push_back(value.is_null() ? nan : value.get<double>());
    }
    return values;
  };
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(path));
    Drift drift{json.at("models").get<std::vector<std::string>>(), numbers(json.at("relative")), {}};
    for (const auto& row : json.at("cosines")) {
      drift.cosines.push_back(numbers(row));
    }
    if (drift.relative.size() != drift.models.size() || drift.cosines.size() != drift.models.size()) {
      throw DataError(path, "has lists of different lengths");
    }
    return drift;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path, std::string("is not a drift record: ") + error.what(), "evaluate again");
  }
}

}  // namespace soup
