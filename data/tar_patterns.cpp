// Names of tars written with braces and wildcards: data/webdataset.hpp's expand_tar_patterns.
#include <fmt/format.h>
#include <glob.h>

#include <charconv>
#include <cstdint>
#include <set>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/webdataset.hpp"

namespace soup {
namespace {

constexpr std::size_t most_names = 1'000'000;

[[noreturn]] void refuse(const std::string& pattern, const std::string& what) {
  throw ConfigError(fmt::format("\"{}\": {}", excerpt(pattern, 200), what),
                    "write name-{00000..00009}.tar, name-{a,b}.tar or name-*.tar");
}

std::uint64_t whole_number(std::string_view text, const std::string& pattern) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.size() > 18) {
    refuse(pattern, fmt::format("\"{}\" is no number", excerpt(text)));
  }
  return value;
}

// What stands between braces: a range of numbers, as wide as the first, or a list.
std::vector<std::string> alternatives(std::string_view inside, const std::string& pattern) {
  const std::size_t dots = inside.find("..");
  if (dots == std::string_view::npos) {
    return split(inside, ',');
  }
  const std::string_view first = inside.substr(0, dots);
  const std::uint64_t begin = whole_number(first, pattern);
  const std::uint64_t end = whole_number(inside.substr(dots + 2), pattern);
  if (end < begin || end - begin >= most_names) {
    refuse(pattern, "its range goes backwards, or has more than a million numbers");
  }
  std::vector<std::string> all;
  for (std::uint64_t i = begin; i <= end; ++i) {
    all.push_back(fmt::format("{:0{}}", i, first.size()));
  }
  return all;
}

// Left braces first, so that the last one varies fastest.
std::vector<std::string> expand_braces(const std::string& pattern) {
  std::vector<std::string> done{""};
  std::size_t at = 0;
  while (true) {
    const std::size_t open = pattern.find('{', at);
    for (std::string& text : done) {
      text.append(pattern, at, open == std::string::npos ? open : open - at);
    }
    if (open == std::string::npos) {
      return done;
    }
    const std::size_t close = pattern.find('}', open);
    if (close == std::string::npos) {
      refuse(pattern, "a brace is left open");
    }
    const auto choices = alternatives(std::string_view(pattern).substr(open + 1, close - open - 1), pattern);
    if (choices.size() * done.size() > most_names) {
      refuse(pattern, "it stands for more than a million names");
    }
    std::vector<std::string> longer;
    for (const std::string& text : done) {
      for (const std::string& choice : choices) {
        longer.push_back(text + choice);
      }
    }
    done = std::move(longer);
    at = close + 1;
  }
}

std::vector<std::filesystem::path> matches(const std::string& name) {
  if (name.find_first_of("*?[") == std::string::npos) {
    return {name};
  }
  glob_t found{};
  const int status = glob(name.c_str(), 0, nullptr, &found);
  std::vector<std::filesystem::path> paths(found.gl_pathv, found.gl_pathv + (status == 0 ? found.gl_pathc : 0));
  globfree(&found);
  if (paths.empty()) {
    throw DataError(name, "no file has such a name", "check the folder and the pattern");
  }
  return paths;
}

}  // namespace

std::vector<std::filesystem::path> expand_tar_patterns(const WebDatasetSource& source) {
  std::vector<std::filesystem::path> all;
  std::set<std::filesystem::path> seen;
  for (const std::string& given : source.tars) {
    const std::string pattern = (source.folder / given).string();
    for (const std::string& name : expand_braces(pattern)) {
      for (const std::filesystem::path& path : matches(name)) {
        std::error_code error;
        if (!std::filesystem::is_regular_file(path, error)) {
          throw DataError(path, std::filesystem::exists(path, error) ? "is not a regular file" : "does not exist",
                          "check the names of the tars");
        }
        if (!seen.insert(std::filesystem::canonical(path)).second) {
          throw DataError(path, "is named twice among the tars");
        }
        all.push_back(path);
      }
    }
  }
  return all;
}

}  // namespace soup
