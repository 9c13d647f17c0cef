// A YAML text as a tree of values, each of which knows where it was written.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace soup {

inline constexpr int yaml_max_depth = 32;

struct YamlNode {
  YamlNode();  // in the .cpp: clang 14 cannot make it while the class is incomplete

  enum class Kind { null, scalar, list, map };

  Kind kind = Kind::null;
  std::string text;     // scalar: its value
  bool quoted = false;  // scalar: written in quotes, so never a number or a truth value
  std::vector<YamlNode> items;
  std::vector<std::pair<std::string, YamlNode>> entries;  // map: in the order of the text
  std::shared_ptr<const std::string> origin;              // file name, or "--set a.b=c"
  int line = 0;                                           // from 1; 0 where the origin has no lines

  // "configs/x.yaml:12" or "--set a.b=c".
  [[nodiscard]] std::string where() const;
  // The entry of a map, or nullptr.
  [[nodiscard]] const YamlNode* find(std::string_view key) const;
  // What a person would call it in a message: `the text "abc"`, "a list of 3", "a map with 2 keys", "nothing".
  [[nodiscard]] std::string described() const;
};

// "configs/x.yaml:12"; without a line (0) the origin alone.
std::string yaml_place(std::string_view origin, int line);
// Long text cut for a message, never inside a UTF-8 sequence.
std::string shortened(std::string_view text);

}  // namespace soup
