// The keys of an experiment, described once: reading, canonical writing and the documentation's check all walk the same
// description, so none of them can forget a key.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

struct WholeRange {
  std::int64_t least = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  [[nodiscard]] std::string text() const;  // "1 to 64", "1 or more"
};

struct NumberRange {
  double least = 0.0;
  double most = std::numeric_limits<double>::infinity();
  bool above_least = false;                // least itself is outside
  bool below_most = false;                 // most itself is outside
  [[nodiscard]] std::string text() const;  // "[0, 1)", "0 or more", "more than 0"
  [[nodiscard]] bool contains(double value) const;
};

enum class Need { required, optional };

// A visitor of keys. A reader sets the values, a writer reads them; each value arrives with its default in it.
class Keys {
 public:
  virtual ~Keys() = default;
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  // Whether this visitor sets values.
  [[nodiscard]] virtual bool reading() const = 0;

  // Integers of any type; the range is part of the type's own.
  template <std::integral T>
  requires(!std::same_as<T, bool> && sizeof(T) <= sizeof(std::int64_t)) void whole(std::string_view key, T& value,
                                                                                   WholeRange range) {
    // Everything but a seed is below 2^63 by its range.
    auto wide = static_cast<std::int64_t>(value);
    visit_whole(key, wide, range);
    value = static_cast<T>(wide);
  }
  virtual void seed(std::string_view key, std::uint64_t& value) = 0;
  virtual void number(std::string_view key, double& value, NumberRange range) = 0;
  virtual void optional_number(std::string_view key, std::optional<double>& value, NumberRange range) = 0;
  virtual void truth(std::string_view key, bool& value) = 0;
  virtual void text(std::string_view key, std::string& value, Need need) = 0;
  // One word of `choices`.
  virtual void word(std::string_view key, std::string& value, std::span<const std::string_view> choices) = 0;
  // An empty path is an absent key. A reader resolves relative paths (experiment.hpp says how).
  virtual void path(std::string_view key, std::filesystem::path& value, Need need) = 0;
  virtual void whole_list(std::string_view key, std::vector<std::int64_t>& values, WholeRange range) = 0;
  virtual void text_list(std::string_view key, std::vector<std::string>& values) = 0;
  // `choices` empty: any text.
  virtual void word_list(std::string_view key, std::vector<std::string>& values,
                         std::span<const std::string_view> choices) = 0;

  // A map below `key`; an absent one is a map without keys.
  virtual void section(std::string_view key, const std::function<void(Keys&)>& body) = 0;
  // A map that may be absent: a reader sets `present`, a writer obeys it.
  virtual void optional_section(std::string_view key, bool& present, const std::function<void(Keys&)>& body) = 0;
  // A list of maps: resize(n) is called by a reader, body(keys, i) for each element.
  virtual void list(std::string_view key, std::size_t size, const std::function<void(std::size_t)>& resize,
                    const std::function<void(Keys&, std::size_t)>& body) = 0;

 protected:
  Keys() = default;
  virtual void visit_whole(std::string_view key, std::int64_t& value, WholeRange range) = 0;
};

}  // namespace soup
