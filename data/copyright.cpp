#include "data/copyright.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {
namespace {

constexpr std::size_t max_summary_bytes = 1000;

// Value of a field at the start of a line ("License: GPL-3" -> "GPL-3"), blanks trimmed and squeezed; "" otherwise.
std::string field(const std::string& line, std::string_view name) {
  if (!line.starts_with(name)) {
    return {};
  }
  std::istringstream words(line.substr(name.size()));
  std::string value;
  for (std::string word; words >> word;) {
    value += (value.empty() ? "" : " ") + word;
  }
  return value;
}

}  // namespace

std::string licence_summary(std::string_view copyright, std::string_view package) {
  std::istringstream lines{std::string(copyright)};
  std::vector<std::string> names;
  std::string files;  // of the paragraph that the line is in; empty in paragraphs that hold a licence's text
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) {
      files.clear();
    }
    if (const std::string value = field(line, "Files:"); !value.empty()) {
      files = value;
    }
    const std::string name = field(line, "License:");
    if (!name.empty() && !files.empty() && files != "debian/*" &&
        std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  std::string summary;
  for (const std::string& name : names) {
    if (summary.size() + name.size() > max_summary_bytes) {
      return summary + ", ...";
    }
    summary += (summary.empty() ? "" : ", ") + name;
  }
  return summary.empty() ? "see " + std::string(package) + "'s copyright file" : summary;
}

std::string package_licence(const std::filesystem::path& theme_root, const std::string& package) {
  // From <folder>/usr/share/icons/<theme> to <folder>/usr/share/doc/<package>.
  const auto share =
      std::filesystem::absolute(theme_root / ".").lexically_normal().parent_path().parent_path().parent_path();
  const auto path = share / "doc" / package / "copyright";
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw DataError(path, "the licence of package " + package + " is not there",
                    "`bash launch/setup.sh` fetches the Debian package " + package + "; it holds this file");
  }
  return licence_summary(read_file(path, 1 << 20), package);
}

}  // namespace soup
