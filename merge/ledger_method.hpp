// The part of a ledger that says how a soup was made that is more than a mean of whole models: method, parameters,
// rules.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "merge/ledger.hpp"
#include "merge/strict_json.hpp"

namespace soup {

nlohmann::json parameters_to_json(const Ledger& ledger);
nlohmann::json rules_to_json(const Ledger& ledger);

// The method that is no mean, with its parameters and seed; absent for a mean. Takes the keys `parameters` and `seed`.
// Throws DataError for settings that the method does not have or that are not all it has.
std::optional<MethodSettings> blend_from_json(StrictObject& object, const std::string& method);
// Takes the key `rules`.
std::vector<WeightRule> rules_from_json(StrictObject& object);

// Rules name ingredients, and those of a mean give each of them a share of the total weight. Throws DataError.
void require_rules(const Ledger& ledger, const std::filesystem::path& path);

}  // namespace soup
