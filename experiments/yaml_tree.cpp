#include "experiments/yaml_tree.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <unordered_set>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

constexpr std::size_t kShownBytes = 40;

// Cuts long text for a message, never inside a UTF-8 sequence.
std::string shortened(std::string_view text) {
  if (text.size() <= kShownBytes) {
    return std::string(text);
  }
  std::size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
    --end;
  }
  return std::string(text.substr(0, end)) + "...";
}

std::string place(std::string_view origin, int line) {
  return line > 0 ? fmt::format("{}:{}", origin, line) : std::string(origin);
}

// Builds the tree from yaml-cpp's events and refuses what a configuration must not hold.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::shared_ptr<const std::string> origin, bool has_lines)
      : origin_(std::move(origin)), has_lines_(has_lines) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (root_) {
      refuse(mark, "a second document starts here", "one file holds one experiment; remove the \"---\"");
    }
  }
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "an alias (*name) is not allowed", "write the value itself");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(node(mark, {}, anchor)); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // yaml-cpp reports "?" for plain and "!" for quoted scalars without a tag.
    YamlNode scalar = node(mark, tag == "!" || tag == "?" ? std::string() : tag, anchor);
    scalar.kind = YamlNode::Kind::scalar;
    scalar.text = value;
    scalar.quoted = tag == "!";
    if (scalar.quoted) {
      last_quote_ = mark.pos;
    }
    add(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

  [[nodiscard]] std::optional<YamlNode>& root() { return root_; }
  // Where the last quoted scalar begins, in bytes of the text.
  [[nodiscard]] std::optional<int> last_quote() const { return last_quote_; }

 private:
  struct Open {
    YamlNode node;
    std::optional<std::string> key;  // of the map entry whose value comes next
    std::unordered_set<std::string> keys;
  };

  [[nodiscard]] int line(const YAML::Mark& mark) const { return has_lines_ ? std::max(mark.line, 0) + 1 : 0; }

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view message, std::string hint) const {
    throw ConfigError(place(*origin_, line(mark)), {}, message, std::move(hint));
  }

  YamlNode node(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != 0) {
      refuse(mark, "an anchor (&name) is not allowed", "write the value where it is used");
    }
    if (!tag.empty() && tag != "?") {
      refuse(mark, fmt::format("a tag ({}) is not allowed", shortened(tag)), "write the value without a tag");
    }
    YamlNode made;
    made.origin = origin_;
    made.line = line(mark);
    return made;
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (stack_.size() >= static_cast<std::size_t>(yaml_max_depth)) {
      refuse(mark, fmt::format("nesting deeper than {} levels", yaml_max_depth), "no experiment needs that");
    }
    if (expects_key()) {
      // What yaml-cpp makes of "[1" at the end of a text, too.
      refuse(mark, "a key must be plain text, not a list or a map", "is a bracket or brace never closed?");
    }
    YamlNode made = node(mark, tag, anchor);
    made.kind = kind;
    stack_.push_back({std::move(made), std::nullopt, {}});
  }

  void close() {
    YamlNode done = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(done));
  }

  [[nodiscard]] bool expects_key() const {
    return !stack_.empty() && stack_.back().node.kind == YamlNode::Kind::map && !stack_.back().key;
  }

  void add(YamlNode made) {
    if (stack_.empty()) {
      root_ = std::move(made);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(made));
    } else if (parent.key) {
      parent.node.entries.emplace_back(std::move(*parent.key), std::move(made));
      parent.key.reset();
    } else {
      parent.key = key_of(parent, made);
    }
  }

  static std::string key_of(Open& map, const YamlNode& key) {
    if (key.kind != YamlNode::Kind::scalar || key.text.empty()) {
      throw ConfigError(key.where(), {}, "a key must be plain text, not " + key.described());
    }
    if (key.text == "<<" && !key.quoted) {
      throw ConfigError(key.where(), {}, "a merge key (<<) is not allowed", "write the keys themselves");
    }
    if (!map.keys.insert(key.text).second) {
      throw ConfigError(key.where(), {},
                        fmt::format("the key \"{}\" is given twice; first in {}", shortened(key.text),
                                    map.node.find(key.text)->where()),
                        "keep one of the two");
    }
    return key.text;
  }

  std::shared_ptr<const std::string> origin_;
  bool has_lines_;
  std::optional<YamlNode> root_;
  std::optional<int> last_quote_;
  std::vector<Open> stack_;
};

// Checks the bytes before yaml-cpp sees them: it guesses other encodings and takes tabs in some places.
void check_text(std::string_view text, std::string_view origin, bool has_lines) {
  if (text.size() > yaml_max_bytes) {
    throw ConfigError(origin, {}, fmt::format("{} bytes; at most {} are read", text.size(), yaml_max_bytes),
                      "an experiment is a page of text: is this the right file?");
  }
  int line = 1;
  int column = 0;
  std::size_t line_begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == '\n') {
      if (!is_utf8(text.substr(line_begin, i - line_begin))) {
        throw ConfigError(place(origin, has_lines ? line : 0), {}, "not UTF-8", "save the file as UTF-8");
      }
      ++line;
      column = 0;
      line_begin = i + 1;
      continue;
    }
    ++column;
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool line_end = byte == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (byte == '\t') {
      throw ConfigError(place(origin, has_lines ? line : 0), {}, fmt::format("a tab in column {}", column),
                        "YAML is indented with spaces; replace the tab");
    }
    if ((byte < 0x20 && !line_end) || byte == 0x7F) {
      throw ConfigError(place(origin, has_lines ? line : 0), {},
                        fmt::format("a control character (byte 0x{:02x}) in column {}", byte, column),
                        "is this a text file?");
    }
  }
}

// yaml-cpp takes a quoted text that the end of the file cuts off; a truncated file must not pass. Only the last one can
// be open.
void check_last_quote(std::string_view text, std::size_t begin, std::string_view origin, bool has_lines) {
  SOUP_REQUIRE(begin < text.size() && (text[begin] == '"' || text[begin] == '\''), "a quoted scalar without a quote");
  const char quote = text[begin];
  std::size_t i = begin + 1;
  while (i < text.size() && text[i] != quote) {
    i += quote == '"' && text[i] == '\\' ? 2 : 1;
  }
  // In single quotes '' stands for one quote: it looks like an end, and the text after it like another beginning.
  while (quote == '\'' && i + 1 < text.size() && text[i + 1] == quote) {
    i = std::min(text.find(quote, i + 2), text.size());
  }
  if (i >= text.size()) {
    const int line = 1 + static_cast<int>(std::ranges::count(text.substr(0, begin), '\n'));
    throw ConfigError(place(origin, has_lines ? line : 0), {}, "not YAML: a quote that is never closed",
                      "is the file cut off?");
  }
}

YamlNode parse(std::string_view text, std::string_view origin, bool has_lines) {
  check_text(text, origin, has_lines);
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  TreeBuilder builder(std::make_shared<const std::string>(origin), has_lines);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const int line = has_lines && !error.mark.is_null() ? error.mark.line + 1 : 0;
    throw ConfigError(place(origin, line), {}, fmt::format("not YAML: {}", error.msg),
                      "check indentation, colons and quotes on this line and the one before");
  }
  if (builder.last_quote()) {
    check_last_quote(text, static_cast<std::size_t>(*builder.last_quote()), origin, has_lines);
  }
  if (!builder.root()) {
    YamlNode empty;
    empty.origin = std::make_shared<const std::string>(origin);
    return empty;
  }
  return std::move(*builder.root());
}

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

std::string YamlNode::where() const {
  return origin ? place(*origin, line) : std::string();
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

YamlNode parse_yaml(std::string_view text, std::string_view origin) {
  YamlNode root = parse(text, origin, true);
  if (root.kind != YamlNode::Kind::map) {
    throw ConfigError(root.line > 0 ? root.where() : std::string(origin), {},
                      "expected a map of keys, got " + root.described(),
                      "an experiment starts with \"schema: 1\" and \"name: ...\"");
  }
  return root;
}

YamlNode read_yaml(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    throw ConfigError(file.native(), {}, "is a folder, not a YAML file", "give the experiment's YAML file");
  }
  if (!std::filesystem::exists(file, error)) {
    throw ConfigError(file.native(), {}, "no such file", "give the experiment's YAML file, as configs/quickstart.yaml");
  }
  const std::uintmax_t bytes = std::filesystem::file_size(file, error);
  if (!error && bytes > yaml_max_bytes) {
    throw ConfigError(file.native(), {}, fmt::format("{} bytes; at most {} are read", bytes, yaml_max_bytes),
                      "an experiment is a page of text: is this the right file?");
  }
  return parse_yaml(read_file(file, yaml_max_bytes), file.native());
}

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
  YamlNode value = parse(assignment.substr(equals + 1), origin, false);

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
      throw ConfigError(origin, {}, fmt::format("\"{}\" is a key, but there is {} here", step.key, node->described()),
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
