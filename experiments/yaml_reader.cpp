#include "experiments/yaml_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

using Resolve = std::function<std::filesystem::path(const std::filesystem::path&)>;

// The whole of `text` as a number, or nothing.
template <typename T>
std::optional<T> parsed(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) {
      return std::nullopt;
    }
  }
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) {
    return std::nullopt;
  }
  return value;
}

// Whether text is a decimal integer of any size: then it is out of range, not of the wrong type.
bool is_integer_text(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

class Reader : public Keys {
 public:
  Reader(const YamlNode& map, std::string path, const Resolve& resolve)
      : map_(map), path_(std::move(path)), resolve_(resolve) {}

  [[nodiscard]] bool reading() const override { return true; }

  void seed(std::string_view key, std::uint64_t& value) override {
    if (const YamlNode* node = take(key)) {
      value = integer<std::uint64_t>(*node, path_of(key), "0 to 18446744073709551615");
    }
  }
  void number(std::string_view key, double& value, NumberRange range) override {
    if (const YamlNode* node = take(key)) {
      value = number_in(*node, path_of(key), range);
    }
  }
  void optional_number(std::string_view key, std::optional<double>& value, NumberRange range) override {
    if (const YamlNode* node = take(key)) {
      value = number_in(*node, path_of(key), range);
    }
  }
  void truth(std::string_view key, bool& value) override {
    if (const YamlNode* node = take(key)) {
      if (node->kind != YamlNode::Kind::scalar || node->quoted || (node->text != "true" && node->text != "false")) {
        wrong_type(*node, path_of(key), "true or false");
      }
      value = node->text == "true";
    }
  }
  void text(std::string_view key, std::string& value, Need need) override {
    if (const YamlNode* node = take(key, need)) {
      value = text_of(*node, path_of(key));
      if (need == Need::required && value.empty()) {
        fail(*node, path_of(key), "must not be empty");
      }
    }
  }
  void word(std::string_view key, std::string& value, std::span<const std::string_view> choices) override {
    if (const YamlNode* node = take(key)) {
      value = word_of(*node, path_of(key), choices);
    }
  }
  void path(std::string_view key, std::filesystem::path& value, Need need) override {
    if (const YamlNode* node = take(key, need)) {
      const std::string written = text_of(*node, path_of(key));
      if (written.empty() && need == Need::required) {
        fail(*node, path_of(key), "must not be empty");
      }
      value = written.empty() ? std::filesystem::path() : resolve_(written);
    }
  }
  void whole_list(std::string_view key, std::vector<std::int64_t>& values, WholeRange range) override {
    read_list(key, values,
              [range, this](const YamlNode& node, const std::string& path) { return whole_in(node, path, range); });
  }
  void text_list(std::string_view key, std::vector<std::string>& values) override {
    read_list(key, values, [this](const YamlNode& node, const std::string& path) { return text_of(node, path); });
  }
  void word_list(std::string_view key, std::vector<std::string>& values,
                 std::span<const std::string_view> choices) override {
    read_list(key, values,
              [choices, this](const YamlNode& node, const std::string& path) { return word_of(node, path, choices); });
  }
  void section(std::string_view key, const std::function<void(Keys&)>& body) override {
    YamlNode absent;
    absent.kind = YamlNode::Kind::map;
    const YamlNode* node = take(key);
    read_map(node == nullptr ? absent : *node, path_of(key), body);
  }
  void optional_section(std::string_view key, bool& present, const std::function<void(Keys&)>& body) override {
    const YamlNode* node = take(key);
    present = node != nullptr;
    if (node != nullptr) {
      read_map(*node, path_of(key), body);
    }
  }
  void list(std::string_view key, std::size_t, const std::function<void(std::size_t)>& resize,
            const std::function<void(Keys&, std::size_t)>& body) override {
    if (const YamlNode* node = take(key)) {
      if (node->kind != YamlNode::Kind::list) {
        wrong_type(*node, path_of(key), "a list");
      }
      resize(node->items.size());
      for (std::size_t i = 0; i < node->items.size(); ++i) {
        read_map(node->items[i], fmt::format("{}[{}]", path_of(key), i), [&body, i](Keys& keys) { body(keys, i); });
      }
    }
  }

  // Called once after all keys were asked for. A misspelt key is reported before the one that is missing because of it.
  void finish() const {
    for (const auto& [key, node] : map_.entries) {
      if (std::ranges::find(known_, key) == known_.end()) {
        const std::string near = nearest(key, known_);
        throw ConfigError(node.where(), path_of(key), "unknown key",
                          near.empty() ? fmt::format("the keys here are {}", fmt::join(known_, ", "))
                                       : fmt::format("did you mean \"{}\"?", near));
      }
    }
    if (!missing_.empty()) {
      throw ConfigError(map_.where(), path_of(missing_), "this key is required", "configs/README.md lists every key");
    }
  }

 protected:
  void visit_whole(std::string_view key, std::int64_t& value, WholeRange range) override {
    if (const YamlNode* node = take(key)) {
      value = whole_in(*node, path_of(key), range);
    }
  }

 private:
  [[nodiscard]] std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  const YamlNode* take(std::string_view key, Need need = Need::optional) {
    known_.emplace_back(key);
    const YamlNode* node = map_.find(key);
    if (node == nullptr && need == Need::required && missing_.empty()) {
      missing_ = key;
    }
    return node;
  }

  [[noreturn]] static void fail(const YamlNode& node, const std::string& path, const std::string& message,
                                std::string hint = {}) {
    throw ConfigError(node.where(), path, message, std::move(hint));
  }
  [[noreturn]] static void wrong_type(const YamlNode& node, const std::string& path, std::string_view expected) {
    const bool only_quotes = node.kind == YamlNode::Kind::scalar && node.quoted;
    fail(node, path, fmt::format("expected {}, got {}", expected, node.described()),
         only_quotes ? "numbers and true/false stand without quotes" : "");
  }

  template <typename T>
  static T integer(const YamlNode& node, const std::string& path, const std::string& range) {
    if (node.kind != YamlNode::Kind::scalar || node.quoted) {
      wrong_type(node, path, "an integer");
    }
    if (const auto value = parsed<T>(node.text)) {
      return *value;
    }
    if (is_integer_text(node.text)) {
      fail(node, path, fmt::format("{} is out of range; allowed: {}", node.described(), range));
    }
    wrong_type(node, path, "an integer");
  }
  static std::int64_t whole_in(const YamlNode& node, const std::string& path, WholeRange range) {
    const auto value = integer<std::int64_t>(node, path, range.text());
    if (value < range.least || value > range.most) {
      fail(node, path, fmt::format("{} is out of range; allowed: {}", value, range.text()));
    }
    return value;
  }
  static double number_in(const YamlNode& node, const std::string& path, NumberRange range) {
    const auto value =
        node.kind == YamlNode::Kind::scalar && !node.quoted ? parsed<double>(node.text) : std::optional<double>();
    if (!value) {
      wrong_type(node, path, "a number");
    }
    if (!range.contains(*value)) {
      fail(node, path, fmt::format("{} is out of range; allowed: {}", node.text, range.text()));
    }
    return *value;
  }
  static std::string text_of(const YamlNode& node, const std::string& path) {
    if (node.kind != YamlNode::Kind::scalar) {
      wrong_type(node, path, "text");
    }
    return node.text;
  }
  static std::string word_of(const YamlNode& node, const std::string& path, std::span<const std::string_view> choices) {
    std::string text = text_of(node, path);
    if (std::ranges::find(choices, text) == choices.end()) {
      const std::vector<std::string> words(choices.begin(), choices.end());
      const std::string near = nearest(text, words);
      fail(node, path, fmt::format("{} is not one of {}", node.described(), fmt::join(words, ", ")),
           near.empty() ? "" : fmt::format("did you mean \"{}\"?", near));
    }
    return text;
  }

  template <typename T, typename ReadOne>
  void read_list(std::string_view key, std::vector<T>& values, const ReadOne& read_one) {
    const YamlNode* node = take(key);
    if (node == nullptr) {
      return;
    }
    if (node->kind != YamlNode::Kind::list) {
      wrong_type(*node, path_of(key), "a list");
    }
    values.clear();
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      values.push_back(read_one(node->items[i], fmt::format("{}[{}]", path_of(key), i)));
    }
  }

  void read_map(const YamlNode& node, const std::string& path, const std::function<void(Keys&)>& body) const {
    if (node.kind != YamlNode::Kind::map) {
      wrong_type(node, path, "a map of keys");
    }
    Reader reader(node, path, resolve_);
    body(reader);
    reader.finish();
  }

  const YamlNode& map_;
  std::string path_;
  const Resolve& resolve_;
  std::vector<std::string> known_;
  std::string missing_;
};

}  // namespace

void read_keys(const YamlNode& root, const std::function<void(Keys&)>& describe, const Resolve& resolve) {
  Reader reader(root, {}, resolve);
  describe(reader);
  reader.finish();
}

}  // namespace soup
