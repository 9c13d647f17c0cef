// An import's counts in words: data/import.hpp's summary_of.
#include <array>
#include <utility>

#include "data/import.hpp"

namespace soup {

std::string summary_of(const ImportReport& report) {
  const std::array<std::pair<std::uint64_t, const char*>, 9> counts{
      {{report.symlinks, "links"},
       {report.duplicates, "duplicates"},
       {report.blank, "blank"},
       {report.unreadable, "unreadable"},
       {report.too_small, "too small"},
       {report.without_caption, "without a caption"},
       {report.cleaned_captions, "captions cleaned"},
       {report.cut_captions, "captions cut"},
       {report.wrong_extension, "with another extension than their content"}}};
  std::string text;
  for (const auto& [count, what] : counts) {
    if (count > 0) {
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
    }
  }
  return text.empty() ? "nothing left out" : text;
}

}  // namespace soup
