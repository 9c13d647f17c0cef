#include "data/theme_index.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "data/icon_caption.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

using Section = std::map<std::string, std::string>;

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  return first == std::string_view::npos ? ""
                                         : std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

// Sections of a desktop-entry file; lines that are neither a section nor key=value are ignored, as the desktops do.
std::map<std::string, Section> read_sections(const fs::path& path) {
  std::map<std::string, Section> sections;
  std::istringstream lines(read_file(path, 16 << 20));
  Section* section = nullptr;
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line);
    const auto equals = line.find('=');
    if (line.starts_with('[') && line.ends_with(']')) {
      section = &sections[line.substr(1, line.size() - 2)];
    } else if (section != nullptr && !line.starts_with('#') && equals != std::string::npos) {
      section->try_emplace(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)));
    }
  }
  return sections;
}

int number(const Section& section, const std::string& key, int otherwise) {
  const auto found = section.find(key);
  int value = 0;
  if (found == section.end()) {
    return otherwise;
  }
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && value > 0 ? value : otherwise;
}

std::string value(const Section& section, const std::string& key) {
  const auto found = section.find(key);
  return found == section.end() ? "" : found->second;
}

bool is_symbolic(const fs::path& path) {
  return path.native().find("symbolic") != std::string::npos;
}

// How well a drawing serves: smaller is better, lexicographically. Nothing: not at all.
using Fit = std::tuple<int, int, int>;

std::optional<Fit> fit(const ThemeFolder& folder, bool svg, int resolution) {
  // An SVG in a folder of scale 2 is the drawing for the nominal size; a PNG there has twice the pixels.
  const int size = svg ? folder.size : folder.size * folder.scale;
  const int other_scale = folder.scale == 1 ? 0 : 1;
  if (svg && folder.scalable && size != resolution) {
    return Fit{2, std::abs(size - resolution), other_scale};
  }
  if (size >= resolution) {
    return Fit{size == resolution ? 0 : 1, size, other_scale};
  }
  if (svg || size * 2 >= resolution) {
    return Fit{3, -size, other_scale};
  }
  return std::nullopt;
}

struct Choice {
  Fit fit;
  fs::path file;
  bool link = false;
};

}  // namespace

std::vector<ThemeFolder> read_theme_index(const fs::path& root) {
  const fs::path path = root / "index.theme";
  const auto sections = read_sections(path);
  std::vector<ThemeFolder> folders;
  for (const auto& [name, section] : sections) {
    const int size = number(section, "Size", 0);
    if (name == "Icon Theme" || size == 0) {
      continue;
    }
    std::optional<std::string> context = canonical_context(value(section, "Context"));
    const std::string spelled = value(section, "Context");
    for (const std::string& part : split(name, '/')) {
      // "Context=Stxatus" in folder 128x128/status: the folder's name decides.
      if (!context && (spelled.empty() || canonical_context(part))) {
        context = canonical_context(part);
      }
    }
    if (context) {
      folders.push_back(
          {name, *context, size, number(section, "Scale", 1), trimmed(value(section, "Type")) == "Scalable"});
    }
  }
  if (folders.empty()) {
    throw DataError(path, "describes no folder of icons", "give the folder of a freedesktop icon theme");
  }
  return folders;
}

ThemeIcons choose_icons(const fs::path& root, const std::vector<ThemeFolder>& folders,
                        const std::vector<std::string>& contexts, int resolution) {
  ThemeIcons result;
  std::map<std::pair<std::string, std::string>, Choice> chosen;  // (context, name)
  for (const ThemeFolder& folder : folders) {
    const bool wanted =
        contexts.empty() || std::find(contexts.begin(), contexts.end(), folder.context) != contexts.end();
    std::error_code error;
    if (!wanted || is_symbolic(folder.path) || !fs::is_directory(root / folder.path, error)) {
      continue;
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(root / folder.path)) {
      const fs::path name = entry.path().filename();
      const bool svg = name.extension() == ".svg" || name.extension() == ".svgz";
      const std::optional<Fit> entry_fit = fit(folder, svg, resolution);
      if ((!svg && name.extension() != ".png") || is_symbolic(name) || !entry_fit) {
        continue;
      }
      ++result.files;
      Choice choice{*entry_fit, fs::path(folder.path) / name, entry.is_symlink()};
      const auto [at, first] = chosen.try_emplace({folder.context, name.stem().string()}, choice);
      // Between equals PNG goes before SVG, then the alphabet decides: the folder's listing order must not.
      if (!first && std::tie(choice.fit, choice.file) < std::tie(at->second.fit, at->second.file)) {
        at->second = std::move(choice);
      }
    }
  }
  std::set<fs::path> taken;
  for (const bool links : {false, true}) {
    for (const auto& [icon, choice] : chosen) {
      if (choice.link != links) {
        continue;
      }
      std::error_code error;
      fs::path resolved = fs::canonical(root / choice.file, error);
      if (error || !fs::is_regular_file(resolved, error) || is_symbolic(resolved.filename()) ||
          !taken.insert(resolved).second) {
        ++result.symlinks;
        continue;
      }
      result.icons.push_back({icon.first, icon.second, choice.file, std::move(resolved)});
    }
  }
  std::sort(result.icons.begin(), result.icons.end(), [](const ThemeIcon& a, const ThemeIcon& b) {
    return std::tie(a.context, a.name) < std::tie(b.context, b.name);
  });
  return result;
}

}  // namespace soup
