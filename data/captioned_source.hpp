// A source of captioned pictures: items one after another, in an order that never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/digest.hpp"

namespace soup {

// One item, picture or not: what cannot be imported has a problem, so that it is counted in its place.
struct SourceItem {
  std::string name;                    // relative to the source: "cats/1.jpg", "00000.tar/000012.jpg"
  std::string problem;                 // why it cannot be imported; empty for a good one
  std::filesystem::path file;          // where the picture is, unless it is in `bytes`
  std::vector<std::byte> bytes;        // the picture
  std::optional<std::string> caption;  // as written; nullopt when there is none
  std::optional<std::string> key;      // of held_out_key
};

// A place between two items, good for any run over the same source.
struct SourcePlace {
  std::uint64_t part = 0;  // file of the source; its only part is 0
  std::uint64_t item = 0;  // items of that part before the place
};

class CaptionedSource {
 public:
  virtual ~CaptionedSource() = default;
  // Goes on from a place that place() gave.
  virtual void seek(SourcePlace place) = 0;
  // The next item, or nullopt behind the last one. Throws DataError for what makes all others doubtful.
  virtual std::optional<SourceItem> next() = 0;
  // Behind the last item that next() gave.
  [[nodiscard]] virtual SourcePlace place() const = 0;
  // Of all items: how many, or how much of the source has been read, between 0 and 1; whichever is known.
  [[nodiscard]] virtual std::optional<std::uint64_t> total() = 0;
  [[nodiscard]] virtual double part_done() = 0;
  // Of what tells this source, as it is now, from another: names, lengths and times of its files.
  [[nodiscard]] virtual Digest identity() const = 0;
};

}  // namespace soup
