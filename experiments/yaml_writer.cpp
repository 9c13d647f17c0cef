#include "experiments/yaml_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/error.hpp"

namespace soup {

namespace {

class Writer : public Keys {
 public:
  Writer(const std::set<std::string, std::less<>>& without, std::string prefix, std::size_t indent)
      : without_(without), prefix_(std::move(prefix)), indent_(indent) {}

  [[nodiscard]] bool reading() const override { return false; }

  void seed(std::string_view key, std::uint64_t& value) override { line(key, std::to_string(value)); }
  void number(std::string_view key, double& value, NumberRange) override { line(key, yaml_number(value)); }
  void optional_number(std::string_view key, std::optional<double>& value, NumberRange) override {
    if (value) {
      line(key, yaml_number(*value));
    }
  }
  void truth(std::string_view key, bool& value) override { line(key, value ? "true" : "false"); }
  void text(std::string_view key, std::string& value, Need) override { line(key, yaml_text(value)); }
  void word(std::string_view key, std::string& value, std::span<const std::string_view>) override {
    line(key, yaml_text(value));
  }
  void path(std::string_view key, std::filesystem::path& value, Need) override {
    if (!value.empty()) {
      line(key, yaml_text(value.native()));
    }
  }
  void whole_list(std::string_view key, std::vector<std::int64_t>& values, WholeRange) override {
    flow_list(key, values, [](std::int64_t value) { return std::to_string(value); });
  }
  void text_list(std::string_view key, std::vector<std::string>& values) override {
    flow_list(key, values, [](const std::string& value) { return yaml_text(value); });
  }
  void word_list(std::string_view key, std::vector<std::string>& values, std::span<const std::string_view>) override {
    text_list(key, values);
  }
  void section(std::string_view key, const std::function<void(Keys&)>& body) override {
    if (left_out(key)) {
      return;
    }
    Writer inner(without_, path_of(key) + ".", indent_ + 2);
    body(inner);
    if (!inner.out_.empty()) {
      start_line(key);
      out_ += "\n" + inner.out_;
    }
  }
  void optional_section(std::string_view key, bool& present, const std::function<void(Keys&)>& body) override {
    if (!present || left_out(key)) {
      return;
    }
    Writer inner(without_, path_of(key) + ".", indent_ + 2);
    body(inner);
    start_line(key);
    // An optional section without a single key must still be there when read again.
    out_ += inner.out_.empty() ? " {}\n" : "\n" + inner.out_;
  }
  void list(std::string_view key, std::size_t size, const std::function<void(std::size_t)>&,
            const std::function<void(Keys&, std::size_t)>& body) override {
    if (left_out(key)) {
      return;
    }
    start_line(key);
    out_ += size == 0 ? " []\n" : "\n";
    for (std::size_t i = 0; i < size; ++i) {
      Writer inner(without_, path_of(key) + ".", indent_ + 4);
      body(inner, i);
      SOUP_REQUIRE(!inner.out_.empty(), "a list element without keys cannot be written");
      inner.out_[indent_ + 2] = '-';
      out_ += inner.out_;
    }
  }

  [[nodiscard]] const std::string& out() const { return out_; }

 protected:
  void visit_whole(std::string_view key, std::int64_t& value, WholeRange) override { line(key, std::to_string(value)); }

 private:
  [[nodiscard]] std::string path_of(std::string_view key) const { return prefix_ + std::string(key); }
  [[nodiscard]] bool left_out(std::string_view key) const { return without_.contains(path_of(key)); }
  void start_line(std::string_view key) { out_.append(indent_, ' ').append(key).append(":"); }
  void line(std::string_view key, const std::string& value) {
    if (!left_out(key)) {
      start_line(key);
      out_ += " " + value + "\n";
    }
  }
  template <typename T, typename Text>
  void flow_list(std::string_view key, const std::vector<T>& values, const Text& text) {
    std::string joined;
    for (const T& value : values) {
      joined += (joined.empty() ? "" : ", ") + text(value);
    }
    line(key, "[" + joined + "]");
  }

  const std::set<std::string, std::less<>>& without_;
  std::string prefix_;
  std::size_t indent_;
  std::string out_;
};

bool plain_is_safe(std::string_view text) {
  constexpr std::string_view safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+ ()";
  constexpr std::array<std::string_view, 10> words = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"};
  const char first = text.empty() ? ' ' : text.front();
  const bool letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '/' || first == '.';
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return letter && text.back() != ' ' && text.find_first_not_of(safe) == std::string_view::npos &&
         std::ranges::find(words, lower) == words.end() && !lower.starts_with(".inf") && !lower.starts_with(".nan") &&
         !lower.starts_with("...");
}

}  // namespace

std::string write_keys(const std::function<void(Keys&)>& describe, const std::set<std::string, std::less<>>& without) {
  Writer writer(without, {}, 0);
  describe(writer);
  return writer.out();
}

std::string yaml_text(std::string_view text) {
  if (plain_is_safe(text)) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted.append({'\\', c});
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string yaml_number(double value) {
  // Both forms are the shortest that read back to the same double; people prefer 0.0001 to 1e-04.
  const double size = std::abs(value);
  const auto form =
      size == 0.0 || (size >= 1e-5 && size < 1e15) ? std::chars_format::fixed : std::chars_format::scientific;
  std::array<char, 64> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value, form);
  SOUP_REQUIRE(error == std::errc(), "a double has more than 64 digits");
  return {digits.data(), end};
}

}  // namespace soup
