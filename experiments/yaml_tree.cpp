#include "experiments/yaml_tree.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"

namespace soup {

YamlNode::YamlNode() = default;

std::string YamlNode::where() const {
  return origin ? yaml_place(*origin, line) : std::string();
}

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto entry = std::ranges::find_if(entries, [key](const auto& each) { return each.first == key; });
  return entry == entries.end() ? nullptr : &entry->second;
}

std::string YamlNode::described() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::scalar:
      return fmt::format("{}\"{}\"", quoted ? "the quoted text " : "", shortened(text));
    case Kind::list:
      return fmt::format("a list of {}", items.size());
    case Kind::map:
      return fmt::format("a map with {} {}", entries.size(), entries.size() == 1 ? "key" : "keys");
  }
  return {};
}

std::string yaml_place(std::string_view origin, int line) {
  return line > 0 ? fmt::format("{}:{}", origin, line) : std::string(origin);
}

std::string shortened(std::string_view text) {
  constexpr std::size_t shown_bytes = 40;
  return excerpt(text, shown_bytes);
}

}  // namespace soup
