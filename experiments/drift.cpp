#include "experiments/drift.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "experiments/metrics.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

// Exact values of a tensor of any floating type.
std::vector<double> values_of(const SafetensorsFile& file, const TensorInfo& info) {
  if (!is_floating(info.dtype)) {
    throw DataError(file.path(), "tensor '" + info.name + "' has type " + std::string(name_of(info.dtype)) +
                                     ", which is no floating type");
  }
  const auto bytes = file.bytes(info);
  std::vector<double> values(bytes.size() / size_of(info.dtype));
  if (info.dtype == DType::f64) {
    decode(bytes, std::span(values));
    return values;
  }
  std::vector<float> narrow(values.size());
  decode(info.dtype, bytes, std::span(narrow));
  std::ranges::copy(narrow, values.begin());
  return values;
}

}  // namespace

Drift measure_drift(const std::filesystem::path& base,
                    const std::vector<std::pair<std::string, std::filesystem::path>>& models) {
  const auto weights_below = [](const std::filesystem::path& folder) {
    return SafetensorsFile(folder / "unet" / "diffusion_pytorch_model.safetensors");
  };
  const SafetensorsFile base_file = weights_below(base);
  std::vector<SafetensorsFile> files;
  for (const auto& [name, folder] : models) {
    files.push_back(weights_below(folder));
  }
  const std::size_t count = models.size();
  double base_square = 0.0;
  std::vector<std::vector<double>> products(count, std::vector<double>(count, 0.0));
  for (const TensorInfo& info : base_file.tensors()) {
    const std::vector<double> origin = values_of(base_file, info);
    for (const double value : origin) {
      base_square += value * value;
    }
    std::vector<std::vector<double>> deltas;
    for (const SafetensorsFile& file : files) {
      const TensorInfo* other = file.find(info.name);
      if (other == nullptr || other->shape != info.shape) {
        throw DataError(file.path(), "tensor '" + info.name + "' is missing or has another shape than in " +
                                         base_file.path().string());
      }
      deltas.push_back(values_of(file, *other));
      for (std::size_t i = 0; i < origin.size(); ++i) {
        deltas.back()[i] -= origin[i];
      }
    }
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        for (std::size_t i = 0; i < origin.size(); ++i) {
          products[a][b] += deltas[a][i] * deltas[b][i];
        }
      }
    }
  }
  Drift drift;
  drift.cosines.assign(count, std::vector<double>(count, nan));
  for (std::size_t a = 0; a < count; ++a) {
    drift.models.push_back(models[a].first);
    drift.relative.push_back(std::sqrt(products[a][a] / base_square));
    for (std::size_t b = 0; b <= a; ++b) {
      const double norms = std::sqrt(products[a][a] * products[b][b]);
      drift.cosines[a][b] = drift.cosines[b][a] = norms > 0.0 ? products[a][b] / norms : nan;
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
