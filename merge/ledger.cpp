// ledger.json: what a soup is made of, exactly, and what was done to it (schema 2, see merge/README.md).
#include "merge/ledger.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "core/error.hpp"
#include "core/text.hpp"
#include "merge/ledger_method.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

using nlohmann::json;

constexpr int ledger_schema = 2;
constexpr auto soup_dtypes = std::to_array<std::string_view>({"F64", "F32", "F16", "BF16", "input"});

json ingredient_to_json(const LedgerIngredient& ingredient) {
  json parts = json::object();
  for (const auto& [name, part] : ingredient.parts) {
    parts[name] = {{"digest", part.digest.hex()}, {"largest", part.largest}};
  }
  return {{"name", ingredient.name},
          {"weight", ingredient.weight},
          {"asked_weight", ingredient.asked_weight ? json(*ingredient.asked_weight) : json(nullptr)},
          {"base_digest", digest_or_null(ingredient.base_digest)},
          {"data_root_digest", digest_or_null(ingredient.data_root_digest)},
          {"config_digest", digest_or_null(ingredient.config_digest)},
          {"images", ingredient.images},
          {"path", ingredient.path},
          {"parts", parts}};
}

LedgerIngredient ingredient_from_json(StrictObject object, bool is_mean) {
  LedgerIngredient ingredient;
  ingredient.name = object.text("name");
  ingredient.weight = object.integer("weight", is_mean ? 1 : 0, is_mean ? INT64_MAX : 0);
  ingredient.asked_weight = object.optional_number("asked_weight");
  ingredient.base_digest = object.optional_digest("base_digest");
  ingredient.data_root_digest = object.optional_digest("data_root_digest");
  ingredient.config_digest = object.optional_digest("config_digest");
  ingredient.images = object.integer("images", 0);
  ingredient.path = object.text("path");
  StrictObject parts = object.object("parts");
  for (const std::string& name : parts.keys()) {
    StrictObject part = parts.object(name);
    const LedgerPart& read = ingredient.parts[name] = {part.digest("digest"), part.number("largest")};
    if (read.largest < 0.0) {
      part.refuse("largest", fmt::format("is {}, but is the largest |w| of the part", read.largest));
    }
    part.done();
  }
  object.done();
  return ingredient;
}

json accumulator_to_json(const LedgerAccumulator& accumulator) {
  json parts = json::object();
  for (const auto& [name, digest] : accumulator.parts) {
    parts[name] = digest.hex();
  }
  return {{"kind", name_of(accumulator.kind)}, {"parts", parts}};
}

LedgerAccumulator accumulator_from_json(StrictObject object, const std::map<std::string, Digest>& soup_parts) {
  LedgerAccumulator accumulator;
  const std::string kind = object.text("kind");
  try {
    accumulator.kind = accumulator_kind(kind);
  } catch (const ConfigError& error) {
    object.refuse("kind", error.message());
  }
  StrictObject parts = object.object("parts");
  for (const std::string& name : parts.keys()) {
    accumulator.parts.emplace(name, parts.digest(name));
  }
  object.done();
  const auto same_names = [&] {
    return std::ranges::equal(
        accumulator.parts, soup_parts, {}, [](const auto& part) { return part.first; },
        [](const auto& part) { return part.first; });
  };
  if (accumulator.kind == AccumulatorKind::none ? !accumulator.parts.empty() : !same_names()) {
    object.refuse("parts", "are not those of the soup");
  }
  return accumulator;
}

LedgerEvent event_from_json(StrictObject object, bool is_mean) {
  LedgerEvent event{object.text("action"), object.text("ingredient"), object.integer("total_weight", is_mean ? 1 : 0),
                    object.text("time")};
  if (event.action != "made" && event.action != "added" && event.action != "removed") {
    object.refuse("action", fmt::format("is \"{}\", but must be made, added or removed", excerpt(event.action)));
  }
  event.certificate = object.optional_digest("certificate");
  if (std::ranges::count(object.keys(), "missing") > 0) {
    StrictObject missing = object.object("missing");
    for (const std::string& name : missing.keys()) {
      event.missing[name] = missing.text(name);
    }
  }
  object.done();
  if (!event.missing.empty() && event.action != "made") {
    object.refuse("missing", fmt::format("is given, but the action is \"{}\"", event.action));
  }
  if (event.certificate && event.action != "removed") {
    object.refuse("certificate", fmt::format("is given, but the action is \"{}\"", event.action));
  }
  return event;
}

// What the list of ingredients must satisfy as a whole.
void require_consistent(const Ledger& ledger, const std::string& soup_digest, const std::string& method,
                        const std::filesystem::path& path) {
  if (ledger.ingredients.empty() || ledger.parts.empty()) {
    throw DataError(path, "a ledger without ingredients or without parts describes no soup");
  }
  std::int64_t total = 0;
  const LedgerIngredient* before = nullptr;
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    if (__builtin_add_overflow(total, ingredient.weight, &total)) {
      throw DataError(path, "the ingredients' weights add up to more than 2^63");
    }
    if (before != nullptr && before->name >= ingredient.name) {
      throw DataError(path, fmt::format("ingredients must be sorted by name and unique, but {} stands before {}",
                                        excerpt(before->name), excerpt(ingredient.name)));
    }
    before = &ingredient;
    if (!std::ranges::equal(
            ingredient.parts, ledger.parts, {}, [](const auto& part) { return part.first; },
            [](const auto& part) { return part.first; })) {
      throw DataError(path, fmt::format("ingredient {} has other parts than the soup", excerpt(ingredient.name)));
    }
  }
  if (total != ledger.total_weight) {
    throw DataError(
        path, fmt::format("total_weight is {}, but the ingredients' weights add up to {}", ledger.total_weight, total));
  }
  require_rules(ledger, path);
  if (ledger.soup_digest().hex() != soup_digest) {
    throw DataError(path,
                    fmt::format("soup_digest is {}, but the parts give {}", soup_digest, ledger.soup_digest().hex()));
  }
  if (ledger.method() != method) {
    throw DataError(path, fmt::format("method is \"{}\", but the weights are {}", excerpt(method), ledger.method()));
  }
}

}  // namespace

Digest Ledger::soup_digest() const {
  return model_digest(parts);
}

std::string Ledger::method() const {
  if (blend) {
    return blend->name;
  }
  const auto differs = [this](const LedgerIngredient& other) { return other.weight != ingredients.front().weight; };
  return !rules.empty() || std::ranges::any_of(ingredients, differs) ? "weighted" : "uniform";
}

const LedgerIngredient* Ledger::find(const std::string& name) const {
  const auto found = std::ranges::find(ingredients, name, &LedgerIngredient::name);
  return found == ingredients.end() ? nullptr : &*found;
}

std::string ledger_dtype(std::optional<DType> dtype) {
  return dtype ? std::string(name_of(*dtype)) : "input";
}

std::optional<DType> soup_dtype_of(const Ledger& ledger) {
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    if (ledger.dtype == name_of(dtype)) {
      return dtype;
    }
  }
  return std::nullopt;
}

std::string program_version() {
  return "soup " SOUP_VERSION;
}

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

json to_json(const Ledger& ledger) {
  json parts = json::object();
  for (const auto& [name, digest] : ledger.parts) {
    parts[name] = digest.hex();
  }
  json ingredients = json::array();
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    ingredients.push_back(ingredient_to_json(ingredient));
  }
  json history = json::array();
  for (const LedgerEvent& event : ledger.history) {
    history.push_back({{"action", event.action},
                       {"ingredient", event.ingredient},
                       {"total_weight", event.total_weight},
                       {"time", event.time},
                       {"certificate", digest_or_null(event.certificate)}});
    if (!event.missing.empty()) {
      history.back()["missing"] = event.missing;
    }
  }
  return {{"schema", ledger_schema},
          {"program", ledger.program},
          {"soup_digest", ledger.soup_digest().hex()},
          {"method", ledger.method()},
          {"parameters", parameters_to_json(ledger)},
          {"seed", ledger.blend && ledger.blend->seed ? json(std::to_string(*ledger.blend->seed)) : json(nullptr)},
          {"rules", rules_to_json(ledger)},
          {"scale_bits", ledger.scale_bits},
          {"total_weight", ledger.total_weight},
          {"dtype", ledger.dtype},
          {"base_digest", digest_or_null(ledger.base_digest)},
          {"parts", parts},
          {"accumulator", accumulator_to_json(ledger.accumulator)},
          {"ingredients", ingredients},
          {"base", ledger.base ? ingredient_to_json(*ledger.base) : json(nullptr)},
          {"history", history}};
}

Ledger ledger_from_json(const json& value, const std::filesystem::path& path) {
  StrictObject object(value, path);
  static_cast<void>(object.integer("schema", ledger_schema, ledger_schema));
  Ledger ledger;
  ledger.program = object.text("program");
  const std::string soup_digest = object.digest("soup_digest").hex();
  const std::string method = object.text("method");
  ledger.blend = blend_from_json(object, method);
  const bool is_mean = !ledger.blend;
  ledger.scale_bits = static_cast<int>(object.integer("scale_bits", is_mean ? 1 : 0, is_mean ? 52 : 0));
  ledger.total_weight = object.integer("total_weight", is_mean ? 1 : 0, is_mean ? std::int64_t{1} << 53 : 0);
  ledger.rules = rules_from_json(object);
  ledger.dtype = object.text("dtype");
  if (std::ranges::find(soup_dtypes, ledger.dtype) == soup_dtypes.end()) {
    object.refuse("dtype",
                  fmt::format("is \"{}\", but must be one of {}", excerpt(ledger.dtype), fmt::join(soup_dtypes, ", ")));
  }
  ledger.base_digest = object.optional_digest("base_digest");
  StrictObject parts = object.object("parts");
  for (const std::string& name : parts.keys()) {
    ledger.parts.emplace(name, parts.digest(name));
  }
  ledger.accumulator = accumulator_from_json(object.object("accumulator"), ledger.parts);
  for (StrictObject& ingredient : object.objects("ingredients")) {
    ledger.ingredients.push_back(ingredient_from_json(std::move(ingredient), is_mean));
  }
  if (std::optional<StrictObject> base = object.optional_object("base")) {
    ledger.base = ingredient_from_json(std::move(*base), is_mean);
  }
  if (ledger.base.has_value() != (ledger.blend && make_method(*ledger.blend)->needs_base())) {
    object.refuse("base",
                  ledger.base ? "is of methods that start from one" : "is missing, and the method starts from it");
  }
  for (StrictObject& event : object.objects("history")) {
    ledger.history.push_back(event_from_json(std::move(event), is_mean));
  }
  object.done();
  require_consistent(ledger, soup_digest, method, path);
  return ledger;
}

Ledger read_ledger(const std::filesystem::path& soup_folder) {
  const std::filesystem::path path = soup_folder / ledger_name;
  return ledger_from_json(read_json(path), path);
}

void write_ledger(const std::filesystem::path& soup_folder, const Ledger& ledger) {
  write_json(soup_folder / ledger_name, to_json(ledger));
}

json state_of(const Ledger& ledger) {
  json value = to_json(ledger);
  value.erase("history");
  value.erase("program");
  for (json& ingredient : value["ingredients"]) {
    ingredient.erase("path");
  }
  if (ledger.base) {
    value["base"].erase("path");
  }
  return value;
}

Ledger ledger_from_state(json state, const std::filesystem::path& path) {
  const auto complete = [&](json& object, const char* key, json value) {
    if (object.is_object() && !object.emplace(key, std::move(value)).second) {
      throw DataError(path, fmt::format("{} is no part of a ledger's state", key));
    }
  };
  complete(state, "history", json::array());
  if (state.is_object() && state.contains("base") && state["base"].is_object()) {
    complete(state["base"], "path", "");
  }
  complete(state, "program", "");
  if (state.is_object() && state.contains("ingredients") && state["ingredients"].is_array()) {
    for (json& ingredient : state["ingredients"]) {
      complete(ingredient, "path", "");
    }
  }
  return ledger_from_json(state, path);
}

Digest content_digest(const Ledger& ledger) {
  json content = state_of(ledger);
  content.erase("accumulator");
  if (!ledger.blend) {  // of a mean only the integers count
    for (json& ingredient : content["ingredients"]) {
      ingredient.erase("asked_weight");
    }
  }
  return sha256(content.dump());
}

}  // namespace soup
