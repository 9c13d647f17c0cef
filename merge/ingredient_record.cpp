// ingredient.json: what a trained model folder says of itself (schema 1, see merge/README.md).
#include "merge/ingredient_record.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"
#include "merge/model_folder.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

using nlohmann::json;

constexpr std::array<std::pair<ModelKind, const char*>, 3> kind_names{
    {{ModelKind::base, "base"}, {ModelKind::ingredient, "ingredient"}, {ModelKind::paragon, "paragon"}}};

}  // namespace

IngredientRecord read_ingredient_record(const std::filesystem::path& model_folder) {
  const std::filesystem::path path = model_folder / ingredient_record_name;
  const json value = read_json(path);
  StrictObject object(value, path);
  static_cast<void>(object.integer("schema", 2, 2));
  IngredientRecord record;
  record.name = object.text("name");
  const std::string kind = object.text("kind");
  const auto known = std::ranges::find(kind_names, kind, [](const auto& pair) { return std::string(pair.second); });
  if (known == kind_names.end()) {
    object.refuse("kind", "is \"" + excerpt(kind) + "\", but must be base, ingredient or paragon");
  }
  record.kind = known->first;
  record.base_digest = object.optional_digest("base_digest");
  if (record.base_digest.has_value() == (record.kind == ModelKind::base)) {
    object.refuse("base_digest",
                  record.base_digest ? "is given, but a base has none" : "is null, but only a base has none");
  }
  record.data_root_digest = object.digest("data_root_digest");
  record.config_digest = object.digest("config_digest");
  record.images = object.integer("images", 0);
  const std::string seed = object.text("seed");  // text: JSON numbers hold 53 bits
  const auto parsed = std::from_chars(seed.data(), seed.data() + seed.size(), record.seed);
  if (parsed.ec != std::errc{} || parsed.ptr != seed.data() + seed.size()) {
    object.refuse("seed", "is \"" + excerpt(seed) + "\", not a 64-bit number");
  }
  record.shards = object.texts("shards");
  record.trained_parts = object.texts("trained_parts");
  StrictObject weights = object.object("weights");
  for (const std::string& part : weights.keys()) {
    record.weights.emplace(part, weights.digest(part));
  }
  for (const std::string& part : record.trained_parts) {
    if (!record.weights.contains(part)) {
      object.refuse("trained_parts", "names " + part + ", which has no digest in weights");
    }
  }
  object.done();
  return record;
}

void write_ingredient_record(const std::filesystem::path& model_folder, const IngredientRecord& record) {
  json weights = json::object();
  for (const auto& [part, digest] : record.weights) {
    weights[part] = digest.hex();
  }
  const auto kind = std::ranges::find(kind_names, record.kind, [](const auto& pair) { return pair.first; });
  write_json(model_folder / ingredient_record_name, {{"schema", 2},
                                                     {"name", record.name},
                                                     {"kind", kind->second},
                                                     {"base_digest", digest_or_null(record.base_digest)},
                                                     {"data_root_digest", record.data_root_digest.hex()},
                                                     {"config_digest", record.config_digest.hex()},
                                                     {"images", record.images},
                                                     {"seed", std::to_string(record.seed)},
                                                     {"shards", record.shards},
                                                     {"trained_parts", record.trained_parts},
                                                     {"weights", weights}});
}

std::optional<IngredientRecord> find_ingredient_record(const std::filesystem::path& model_folder) {
  if (!std::filesystem::exists(model_folder / ingredient_record_name)) {
    return std::nullopt;
  }
  return read_ingredient_record(model_folder);
}

std::map<std::string, Digest> part_digests(const std::filesystem::path& model_folder) {
  const ModelFolder model = open_model(model_folder);
  std::map<std::string, Digest> digests;
  for (const ModelPart& part : model.parts) {
    digests.emplace(part.name, part_digest(model, part));
  }
  return digests;
}

}  // namespace soup
