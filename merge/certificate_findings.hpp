// What a certificate of removal says it does not cover, as JSON.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "merge/certificate.hpp"
#include "merge/strict_json.hpp"

namespace soup {

// NotCovered::kind; a certificate has each once.
inline constexpr auto finding_kinds =
    std::to_array<std::string_view>({"pretraining", "same_images", "choices", "earlier_soups", "copies"});

nlohmann::json finding_to_json(const NotCovered& finding);
// Throws DataError naming file and key.
NotCovered finding_from_json(StrictObject object);

}  // namespace soup
