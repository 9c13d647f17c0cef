// One byte form for each JSON value, so that it can be signed.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace soup {

// UTF-8 without spaces, keys in the order of their bytes, only ", \ and control characters escaped, integers in
// decimal, other numbers by the fewest digits that give them back, as Python writes them: what json.dumps(value,
// sort_keys=True, separators=(",", ":"), ensure_ascii=False) gives there.
std::string canonical_json(const nlohmann::json& value);

}  // namespace soup
