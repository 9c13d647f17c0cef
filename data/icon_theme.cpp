// Freedesktop icon themes into shard files: data/import.hpp's import_icon_theme.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "data/copyright.hpp"
#include "data/decode_pool.hpp"
#include "data/icon_caption.hpp"
#include "data/import.hpp"
#include "data/shard_writer.hpp"
#include "data/theme_index.hpp"

namespace soup {
namespace {

constexpr double blank_deviation = 3.0;  // of the pixel values, 0..255

// An icon with the words it will be known by.
struct Candidate {
  ThemeIcon icon;
  std::string words;
  std::string key;
};

// Smaller goes first when only some can be kept: a digest, so that no letter of the alphabet is favoured.
Digest priority(std::string_view text) {
  return Sha256().update("soup import order").update_field(text).finish();
}

// At most `per_key` icons of each key, and the order in which `limit` is filled.
void thin(std::vector<Candidate>& candidates, const IconThemeSource& source) {
  if (source.limit == 0 && source.per_key_limit == 0) {
    return;
  }
  std::vector<std::tuple<Digest, Digest, std::size_t>> order;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    order.emplace_back(priority(candidates[i].key),
                       priority(candidates[i].icon.context + "/" + candidates[i].icon.name), i);
  }
  std::sort(order.begin(), order.end());
  std::map<std::string, std::uint64_t> of_key;
  std::vector<Candidate> kept;
  for (const auto& [key_priority, icon_priority, i] : order) {
    if (source.per_key_limit == 0 || ++of_key[candidates[i].key] <= source.per_key_limit) {
      kept.push_back(std::move(candidates[i]));
    }
  }
  candidates = std::move(kept);
}

double standard_deviation(std::span<const std::uint8_t> values) {
  std::uint64_t sum = 0;
  std::uint64_t squares = 0;
  for (const std::uint8_t value : values) {
    sum += value;
    squares += std::uint64_t{value} * value;
  }
  const auto count = static_cast<double>(values.size());
  const double mean = static_cast<double>(sum) / count;
  return std::sqrt(std::max(0.0, static_cast<double>(squares) / count - mean * mean));
}

void require_installed(const IconThemeSource& source) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(source.root / "index.theme", error)) {
    const bool known = !source.package.empty();
    throw DataError(source.root,
                    known ? "icon theme of Debian package " + source.package + " is not there (no index.theme)"
                          : "is not an icon theme (no index.theme)",
                    known ? "`bash launch/setup.sh` fetches " + source.package : "give the folder with index.theme");
  }
  for (const std::string& context : source.contexts) {
    if (std::ranges::find(icon_contexts, context) == icon_contexts.end()) {
      throw ConfigError(fmt::format("icon context \"{}\" is unknown", context),
                        fmt::format("known are {}", fmt::join(icon_contexts, ", ")));
    }
  }
}

void require_mostly_readable(const ImportReport& report, std::size_t tried, const ImportOptions& options,
                             const std::filesystem::path& root) {
  const double allowed = options.max_broken_fraction * static_cast<double>(tried);
  if (static_cast<double>(report.broken.size()) > allowed) {
    throw DataError(root,
                    std::to_string(report.broken.size()) + " of " + std::to_string(tried) +
                        " images cannot be read, more than the fraction " +
                        std::to_string(options.max_broken_fraction) +
                        " that is allowed; the first: " + report.broken.front(),
                    "fetch the package again");
  }
}

}  // namespace

ImportReport import_icon_theme(const IconThemeSource& source, const ImportOptions& options,
                               const std::filesystem::path& path, Log& log) {
  require_installed(source);
  const std::filesystem::path root = std::filesystem::canonical(source.root);
  std::string style = source.style.empty() ? root.filename().string() : source.style;
  std::transform(style.begin(), style.end(), style.begin(),
                 [](unsigned char c) { return static_cast<char>(tolower(c)); });

  ThemeIcons found = choose_icons(root, read_theme_index(root), source.contexts, options.resolution);
  std::vector<Candidate> candidates;
  for (ThemeIcon& icon : found.icons) {
    std::string words = caption_words(icon.name);
    if (!words.empty()) {  // "0.svg" has no words to be asked for by
      std::string key = caption_key(words);
      candidates.push_back({std::move(icon), std::move(words), std::move(key)});
    }
  }
  thin(candidates, source);
  std::vector<std::filesystem::path> files;
  files.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    files.push_back(candidate.icon.resolved);
  }

  ImportReport report;
  report.files = found.files;
  report.symlinks = found.symlinks;
  const ShardOrigin origin{options.shard, "icon theme " + root.filename().string(), source.package,
                           source.package.empty() ? "unknown" : package_licence(root, source.package)};
  ShardWriter writer(path, origin, options.resolution, options.resolution, 3);
  Progress progress(log, "import " + options.shard, files.size(), "images");
  std::set<Digest> seen;
  std::size_t tried = 0;
  const DecodeOptions decode{
      .size = options.resolution, .workers = options.workers, .seconds_per_image = options.seconds_per_image};
  decode_in_order(files, decode, [&](std::size_t i, Decoded decoded) {
    if (stop_requested()) {
      throw Interrupted("stopped while importing " + options.shard + "; nothing of this shard was kept");
    }
    const Candidate& candidate = candidates[i];
    tried = i + 1;
    if (!decoded.image) {
      ++report.unreadable;
      report.broken.push_back(candidate.icon.file.string() + ": " + decoded.error);
    } else if (standard_deviation(decoded.image->pixels) < blank_deviation) {
      ++report.blank;
    } else if (!seen.insert(sha256(std::as_bytes(std::span(decoded.image->pixels)))).second) {
      ++report.duplicates;
    } else {
      writer.append({std::move(*decoded.image), candidate.icon.context + " " + candidate.words, candidate.key, style,
                     candidate.icon.file.string()});
      ++report.kept;
    }
    progress.advance_to(tried);
    return source.limit == 0 || report.kept < source.limit;
  });
  progress.finish();
  std::sort(report.broken.begin(), report.broken.end());
  require_mostly_readable(report, tried, options, root);
  writer.finish();
  return report;
}

}  // namespace soup
