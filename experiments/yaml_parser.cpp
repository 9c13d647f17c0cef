#include "experiments/yaml_parser.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

// Builds the tree from yaml-cpp's events and refuses what a configuration must not hold.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, std::shared_ptr<const std::string> origin, bool has_lines)
      : text_(text), origin_(std::move(origin)), has_lines_(has_lines) {}

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
    // yaml-cpp reports "?" for plain scalars without a tag, and "!" for quotes, for blocks, and for
    // that tag itself.
    const auto begin = static_cast<std::size_t>(mark.pos);
    const char first = tag == "!" && begin < text_.size() ? text_[begin] : '\0';
    if (tag == "!" && std::string_view("\"'|>").find(first) == std::string_view::npos) {
      refuse(mark, "a tag (!) is not allowed", "write the value without a tag");
    }
    YamlNode scalar = node(mark, tag == "!" || tag == "?" ? std::string() : tag, anchor);
    scalar.kind = YamlNode::Kind::scalar;
    scalar.text = value;
    scalar.quoted = tag == "!";
    if (first == '"' || first == '\'') {
      last_quote_ = begin;
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
  [[nodiscard]] std::optional<std::size_t> last_quote() const { return last_quote_; }

 private:
  struct Open {
    YamlNode node;
    std::optional<std::string> key;  // of the map entry whose value comes next
    std::unordered_set<std::string> keys;
  };

  [[nodiscard]] int line(const YAML::Mark& mark) const { return has_lines_ ? std::max(mark.line, 0) + 1 : 0; }

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view message, std::string hint) const {
    throw ConfigError(yaml_place(*origin_, line(mark)), {}, message, std::move(hint));
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

  std::string_view text_;
  std::shared_ptr<const std::string> origin_;
  bool has_lines_;
  std::optional<YamlNode> root_;
  std::optional<std::size_t> last_quote_;
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
        throw ConfigError(yaml_place(origin, has_lines ? line : 0), {}, "not UTF-8", "save the file as UTF-8");
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
      throw ConfigError(yaml_place(origin, has_lines ? line : 0), {}, fmt::format("a tab in column {}", column),
                        "YAML is indented with spaces; replace the tab");
    }
    if ((byte < 0x20 && !line_end) || byte == 0x7F) {
      throw ConfigError(yaml_place(origin, has_lines ? line : 0), {},
                        fmt::format("a control character (byte 0x{:02x}) in column {}", byte, column),
                        "is this a text file?");
    }
  }
}

// yaml-cpp takes a quoted text that the end of the file cuts off; a truncated file must not pass. Only the last one can
// be open.
void check_last_quote(std::string_view text, std::size_t begin, std::string_view origin, bool has_lines) {
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
    throw ConfigError(yaml_place(origin, has_lines ? line : 0), {}, "not YAML: a quote that is never closed",
                      "is the file cut off?");
  }
}

YamlNode parse(std::string_view text, std::string_view origin, bool has_lines) {
  check_text(text, origin, has_lines);
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text.starts_with(byte_order_mark)) {
    text.remove_prefix(byte_order_mark.size());
  }
  TreeBuilder builder(text, std::make_shared<const std::string>(origin), has_lines);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const int line = has_lines && !error.mark.is_null() ? error.mark.line + 1 : 0;
    throw ConfigError(yaml_place(origin, line), {}, fmt::format("not YAML: {}", excerpt(error.msg, 200)),
                      "check indentation, colons and quotes on this line and the one before");
  }
  if (builder.last_quote()) {
    check_last_quote(text, *builder.last_quote(), origin, has_lines);
  }
  if (!builder.root()) {
    YamlNode empty;
    empty.origin = std::make_shared<const std::string>(origin);
    return empty;
  }
  return std::move(*builder.root());
}

}  // namespace

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

YamlNode parse_yaml_value(std::string_view text, std::string_view origin) {
  return parse(text, origin, false);
}

}  // namespace soup
