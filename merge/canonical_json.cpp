// One byte form for each JSON value, so that it can be signed.
#include "merge/canonical_json.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.hpp"

namespace soup {

namespace {

using nlohmann::json;

// nlohmann's own digits are not always the fewest; fmt's are.
std::string canonical_number(double number) {
  SOUP_REQUIRE(std::isfinite(number), "JSON has no number that is not finite");
  std::string text = fmt::format("{}", number);
  if (text.find_first_of(".e") == std::string::npos) {
    text += ".0";
  }
  return text;
}

void append(const json& value, std::string& text) {
  std::string_view separator;
  if (value.is_object()) {
    text += '{';
    for (const auto& [key, member] : value.items()) {  // std::map: in the order of bytes
      text.append(separator).append(json(key).dump()).append(":");
      append(member, text);
      separator = ",";
    }
    text += '}';
  } else if (value.is_array()) {
    text += '[';
    for (const json& element : value) {
      text.append(separator);
      append(element, text);
      separator = ",";
    }
    text += ']';
  } else {
    text += value.is_number_float() ? canonical_number(value.get<double>()) : value.dump();
  }
}

}  // namespace

std::string canonical_json(const json& value) {
  std::string text;
  append(value, text);
  return text;
}

}  // namespace soup
