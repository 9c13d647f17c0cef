#include "experiments/yaml_path.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"
#include "experiments/yaml_parser.hpp"

namespace soup {

namespace {

// One step of a key path: a key, or an index of a list.
struct Step {
  std::string key;
  std::optional<std::size_t> index;
};

// "a[2].b" -> a, [2], b; nullopt when it is no key path.
std::optional<std::vector<Step>> steps_of(std::string_view key_path) {
  std::vector<Step> steps;
  for (const std::string& part : split(key_path, '.')) {
    const std::size_t bracket = std::min(part.find('['), part.size());
    if (bracket == 0) {
      return std::nullopt;
    }
    steps.push_back({part.substr(0, bracket), std::nullopt});
    std::string_view rest = std::string_view(part).substr(bracket);
    while (!rest.empty()) {
      const std::size_t close = rest.find(']');
      if (rest.front() != '[' || close == std::string_view::npos || close < 2) {
        return std::nullopt;
      }
      std::size_t index = 0;
      const char* end = rest.data() + close;
      const auto [stop, error] = std::from_chars(rest.data() + 1, end, index);
      if (error != std::errc() || stop != end) {
        return std::nullopt;
      }
      steps.push_back({{}, index});
      rest.remove_prefix(close + 1);
    }
  }
  return steps;
}

const YamlNode* step_into(const YamlNode& node, const Step& step) {
  if (!step.index) {
    return node.find(step.key);
  }
  return *step.index < node.items.size() ? &node.items[*step.index] : nullptr;
}

}  // namespace

void apply_override(YamlNode& root, std::string_view assignment) {
  const std::string origin = "--set " + shortened(assignment);
  const std::string form = "write --set key.path=value, as in --set data.shards[0].weight=2";
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    throw ConfigError(origin, {}, "no \"=\" in it", form);
  }
  const std::string_view key_path = assignment.substr(0, equals);
  const auto steps = steps_of(key_path);
  if (!steps) {
    throw ConfigError(origin, {}, fmt::format("\"{}\" is no key path", shortened(key_path)), form);
  }
  YamlNode value = parse_yaml_value(assignment.substr(equals + 1), origin);

  YamlNode* node = &root;
  for (const Step& step : *steps) {
    if (step.index) {
      if (node->kind != YamlNode::Kind::list || *step.index >= node->items.size()) {
        throw ConfigError(origin, {},
                          fmt::format("there is no element {} here, only {}", *step.index, node->described()),
                          "elements are counted from 0; give the whole list to make it longer");
      }
      node = &node->items[*step.index];
      continue;
    }
    if (node->kind == YamlNode::Kind::null) {
      node->kind = YamlNode::Kind::map;
      node->origin = std::make_shared<const std::string>(origin);
      node->line = 0;
    }
    if (node->kind != YamlNode::Kind::map) {
      throw ConfigError(origin, {},
                        fmt::format("\"{}\" is a key, but there is {} here", shortened(step.key), node->described()),
                        form);
    }
    const auto entry =
        std::ranges::find_if(node->entries, [&step](const auto& each) { return each.first == step.key; });
    node = entry == node->entries.end() ? &node->entries.emplace_back(step.key, YamlNode()).second : &entry->second;
  }
  if (steps->size() + 1 > static_cast<std::size_t>(yaml_max_depth)) {
    throw ConfigError(origin, {}, fmt::format("nesting deeper than {} levels", yaml_max_depth));
  }
  *node = std::move(value);
}

const YamlNode* find_at(const YamlNode& root, std::string_view key_path) {
  const auto steps = steps_of(key_path);
  const YamlNode* node = steps ? &root : nullptr;
  for (const Step& step : steps.value_or(std::vector<Step>())) {
    node = step_into(*node, step);
    if (node == nullptr) {
      break;
    }
  }
  return node;
}

std::string where_of(const YamlNode& root, std::string_view key_path) {
  const YamlNode* node = &root;
  const auto steps = steps_of(key_path);
  for (const Step& step : steps.value_or(std::vector<Step>())) {
    const YamlNode* next = step_into(*node, step);
    if (next == nullptr) {
      break;
    }
    node = next;
  }
  return node->where();
}

}  // namespace soup
