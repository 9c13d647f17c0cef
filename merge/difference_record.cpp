// A difference of models as JSON.
#include "merge/difference_record.hpp"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "merge/ledger.hpp"

namespace soup {

namespace {

using Json = nlohmann::ordered_json;

Json number_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

// Row-major element number as an index per dimension.
std::vector<std::uint64_t> index_in_shape(std::uint64_t element, const std::vector<std::int64_t>& shape) {
  std::vector<std::uint64_t> index(shape.size());
  for (std::size_t i = shape.size(); i > 0; --i) {
    const auto extent = static_cast<std::uint64_t>(shape[i - 1]);
    index[i - 1] = element % extent;
    element /= extent;
  }
  return index;
}

void add_sums(const DeltaSums& sums, Json& json) {
  json["elements"] = sums.elements();
  json["base_norm"] = number_or_null(sums.base_norm());
  Json norms = Json::array();
  Json drifts = Json::array();
  Json cosines = Json::array();
  for (std::size_t a = 0; a < sums.models(); ++a) {
    norms.push_back(number_or_null(sums.norm(a)));
    drifts.push_back(number_or_null(sums.drift(a)));
    Json row = Json::array();
    for (std::size_t b = 0; b < sums.models(); ++b) {
      row.push_back(number_or_null(sums.cosine(a, b)));
    }
    cosines.push_back(std::move(row));
  }
  json["norms"] = std::move(norms);
  json["drifts"] = std::move(drifts);
  json["cosines"] = std::move(cosines);
}

Json tensor_json(const TensorDifference& tensor) {
  Json json = {
      {"name", tensor.name}, {"block", tensor.block}, {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}};
  Json equal = Json::array();
  for (const TensorChange& change : tensor.changes) {
    equal.push_back(change.equal);
  }
  json["equal"] = std::move(equal);
  if (tensor.sums.elements() == 0) {
    return json;
  }
  add_sums(tensor.sums, json);
  Json largest = Json::array();
  for (const TensorChange& change : tensor.changes) {
    largest.push_back({{"change", number_or_null(change.largest)},
                       {"index", index_in_shape(change.element, tensor.shape)},
                       {"from", change.from},
                       {"to", change.to}});
  }
  json["largest"] = std::move(largest);
  json["base_not_finite"] = tensor.base_not_finite.count;
  Json broken = Json::array();
  for (const NotFinite& weights : tensor.not_finite) {
    broken.push_back(weights.count);
  }
  json["not_finite"] = std::move(broken);
  return json;
}

Json part_json(const PartDifference& part, bool tensors) {
  Json json = {{"name", part.name}, {"base_name", part.base_name}};
  add_sums(part_row(part).sums, json);
  json["blocks"] = Json::array();
  for (const DifferenceRow& row : block_rows(part)) {
    Json block = {{"name", row.block}};
    add_sums(row.sums, block);
    json["blocks"].push_back(std::move(block));
  }
  if (tensors) {
    json["tensors"] = Json::array();
    for (const TensorDifference& tensor : part.tensors) {
      json["tensors"].push_back(tensor_json(tensor));
    }
  }
  return json;
}

Json name_or_null(const std::string& name) {
  return name.empty() ? Json(nullptr) : Json(name);
}

Json outliers_json(const Difference& difference, const Outliers& outliers) {
  const auto model = [&](std::size_t index) { return difference.models[index].name; };
  Json json = {{"drift_rule", outliers.drift_rule}, {"opposed_rule", outliers.opposed_rule},
               {"not_finite", Json::array()},       {"integers", Json::array()},
               {"unmoved", Json::array()},          {"drift", Json::array()},
               {"opposed", Json::array()}};
  for (const Outliers::Broken& broken : outliers.broken) {
    json["not_finite"].push_back({{"part", broken.part},
                                  {"tensor", broken.tensor},
                                  {"model", broken.model ? Json(model(*broken.model)) : Json(nullptr)},
                                  {"count", broken.weights.count},
                                  {"first", broken.weights.first}});
  }
  for (const Outliers::Integers& integers : outliers.integers) {
    json["integers"].push_back(
        {{"part", integers.part}, {"tensor", integers.tensor}, {"model", model(integers.model)}});
  }
  for (const Outliers::Unmoved& unmoved : outliers.unmoved) {
    json["unmoved"].push_back({{"part", unmoved.part}, {"model", model(unmoved.model)}});
  }
  for (const Outliers::Drift& drift : outliers.drifts) {
    json["drift"].push_back({{"part", name_or_null(drift.part)},
                             {"block", name_or_null(drift.block)},
                             {"model", model(drift.model)},
                             {"drift", drift.drift},
                             {"median", drift.median},
                             {"score", number_or_null(drift.score)}});
  }
  for (const Outliers::Opposed& pair : outliers.opposed) {
    json["opposed"].push_back({{"part", name_or_null(pair.part)},
                               {"block", name_or_null(pair.block)},
                               {"models", {model(pair.a), model(pair.b)}},
                               {"cosine", pair.cosine}});
  }
  return json;
}

Json input_json(const DifferenceInput& input) {
  return {{"name", input.name}, {"path", input.path.empty() ? Json(nullptr) : Json(input.path.string())}};
}

}  // namespace

nlohmann::ordered_json difference_json(const Difference& difference, const Outliers& outliers, bool tensors) {
  static constexpr auto kinds = std::to_array<const char*>({"base", "mean", "model"});
  Json json = {{"schema", 1}, {"program", program_version()}};
  json["reference"] = input_json(difference.base);
  json["reference"]["kind"] = kinds.at(static_cast<std::size_t>(difference.reference));
  json["models"] = Json::array();
  for (const DifferenceInput& model : difference.models) {
    json["models"].push_back(input_json(model));
  }
  json["equal_parts"] = difference.equal_parts;
  json["only_base_parts"] = difference.only_base_parts;
  json["all"] = Json::object();
  add_sums(total_row(difference).sums, json["all"]);
  json["parts"] = Json::array();
  for (const PartDifference& part : difference.parts) {
    json["parts"].push_back(part_json(part, tensors));
  }
  json["outliers"] = outliers_json(difference, outliers);
  return json;
}

}  // namespace soup
