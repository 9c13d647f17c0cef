#include "data/webdataset.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/tar_reader.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t largest_picture = 512ULL << 20;  // bytes
constexpr std::uint64_t largest_text = 1ULL << 20;       // bytes
constexpr std::array<std::string_view, 5> picture_ends{"jpg", "jpeg", "png", "webp", "svg"};

// 128 bits of a key's digest: of a million keys two are alike with a probability of 1e-27.
struct KeyHash {
  std::array<std::uint64_t, 2> words{};
  explicit KeyHash(std::string_view key) {
    const Digest digest = sha256(key);
    std::memcpy(words.data(), digest.bytes.data(), sizeof words);
  }
  bool operator==(const KeyHash&) const = default;
};
struct HashOfKeyHash {
  std::size_t operator()(const KeyHash& hash) const { return hash.words[0]; }
};

// A member's name in two halves, as WebDataset divides it.
struct MemberName {
  std::string key;
  std::string end;  // lower case, without the dot
  explicit MemberName(const std::string& name) {
    const std::size_t slash = name.rfind('/');
    const std::size_t base = slash == std::string::npos ? 0 : slash + 1;
    const std::size_t dot = name.find('.', base + 1);
    key = name.substr(0, dot);
    end = dot == std::string::npos ? "" : name.substr(dot + 1);
    std::ranges::transform(end, end.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  }
  [[nodiscard]] bool is_picture() const { return std::ranges::find(picture_ends, end) != picture_ends.end(); }
  [[nodiscard]] bool is_read() const { return is_picture() || end == "txt" || end == "json"; }
};

bool leads_out(const fs::path& path) {
  return path.is_absolute() || std::ranges::any_of(path, [](const fs::path& part) { return part == ".."; });
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// One tar as a row of samples.
class SampleReader {
 public:
  SampleReader(const fs::path& path, const WebDatasetSource& source)
      : path_(path), name_(path.filename().string()), source_(source) {}

  std::optional<SourceItem> next() {
    if (ended_) {
      return std::nullopt;
    }
    try {
      if (!reader_) {
        reader_.emplace(path_);
        advance();
      }
      return sample();
    } catch (const DataError& error) {
      ended_ = true;
      std::string what = error.message();
      if (what.starts_with(path_.string() + ": ")) {
        what.erase(0, path_.string().size() + 2);
      }
      return SourceItem{.name = name_, .problem = std::move(what), .file = {}, .bytes = {}, .caption = {}, .key = {}};
    }
  }

  [[nodiscard]] std::uint64_t bytes_read() const { return reader_ ? reader_->bytes_read() : 0; }

 private:
  // To the next member that may belong to a sample.
  void advance() {
    do {
      member_ = reader_->next();
    } while (member_ && (member_->is_folder || !MemberName(member_->name).is_read()));
  }

  // Damage behind a member leaves its sample whole; it is told in its own turn.
  void advance_or_end() {
    try {
      advance();
    } catch (const DataError& error) {
      member_.reset();
      damage_ = error;
    }
  }

  // The members in a row with the key of the next one.
  std::optional<SourceItem> sample() {
    if (damage_) {
      throw DataError(*damage_);
    }
    if (!member_) {
      ended_ = true;
      if (!any_) {
        throw DataError(path_, "holds no samples");
      }
      return std::nullopt;
    }
    any_ = true;
    const std::string key = MemberName(member_->name).key;
    SourceItem item{.name = shown(key), .problem = {}, .file = {}, .bytes = {}, .caption = {}, .key = {}};
    std::vector<std::string> ends;
    std::optional<std::string> json;
    if (!keys_.insert(KeyHash(key)).second) {
      problem(item,
              "its key came before in this tar; members of one key lie side by side, and keys are not used twice");
    }
    for (; member_ && MemberName(member_->name).key == key; advance_or_end()) {
      const std::string end = MemberName(member_->name).end;
      if (std::ranges::find(ends, end) != ends.end()) {
        problem(item, "has two members that end in ." + end);
      }
      ends.push_back(end);
      take_member(item, json);
    }
    if (item.bytes.empty()) {
      problem(item, "has no picture (.jpg, .jpeg, .png, .webp or .svg)");
    }
    if (json) {
      take_json(item, *json);
    }
    return item;
  }

  void take_member(SourceItem& item, std::optional<std::string>& json) {
    const MemberName name(member_->name);
    if (leads_out(member_->name)) {
      problem(item, "its path leads out of the archive");
    }
    if (!member_->is_file) {
      problem(item, "." + name.end + " is a link or no file at all");
      return;
    }
    std::optional<std::vector<std::byte>> content = reader_->read(name.is_picture() ? largest_picture : largest_text);
    if (!content) {
      problem(item, fmt::format(".{} is longer than {}", name.end,
                                human_bytes(static_cast<double>(name.is_picture() ? largest_picture : largest_text))));
    } else if (name.is_picture()) {
      item.name = shown(member_->name);
      if (!item.bytes.empty()) {
        problem(item, "has two pictures");
      }
      if (content->empty()) {
        problem(item, "is empty (0 bytes)");
      }
      item.bytes = std::move(*content);
    } else if (name.end == "txt") {
      item.caption = text_of(*content);
    } else {
      json = text_of(*content);
    }
  }

  void take_json(SourceItem& item, const std::string& text) const {
    const nlohmann::json object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
      problem(item, "its .json is not a JSON object");
      return;
    }
    const auto field = [&](const std::string& name, std::optional<std::string>& value) {
      const auto found = object.find(name);
      if (name.empty() || found == object.end() || found->is_null()) {
        return;
      }
      if (found->is_string()) {
        value = found->get<std::string>();
      } else if (found->is_number()) {
        value = found->dump();
      } else {
        problem(item, fmt::format("\"{}\" in its .json is neither text nor number", excerpt(name)));
      }
    };
    if (!item.caption) {
      field(source_.caption_key, item.caption);
    }
    field(source_.held_out_key, item.key);
  }

  // The first problem is the one that is reported.
  static void problem(SourceItem& item, std::string what) {
    if (item.problem.empty()) {
      item.problem = std::move(what);
    }
  }
  [[nodiscard]] std::string shown(const std::string& member) const { return name_ + "/" + excerpt(member, 2000); }

  fs::path path_;
  std::string name_;
  const WebDatasetSource& source_;
  std::optional<TarReader> reader_;
  std::optional<TarMember> member_;  // not yet taken
  std::unordered_set<KeyHash, HashOfKeyHash> keys_;
  std::optional<DataError> damage_;
  bool any_ = false;
  bool ended_ = false;
};

class WebDataset final : public CaptionedSource {
 public:
  explicit WebDataset(WebDatasetSource source) : source_(std::move(source)), tars_(expand_tar_patterns(source_)) {
    if (tars_.empty()) {
      throw ConfigError("a WebDataset source names no tar");
    }
    Sha256 hash;
    hash.update("soup webdataset 1");
    for (const fs::path& tar : tars_) {
      struct stat status {};
      if (::stat(tar.c_str(), &status) != 0) {
        throw DataError(tar, "cannot be looked at");
      }
      bytes_.push_back(static_cast<std::uint64_t>(status.st_size));
      all_bytes_ += bytes_.back();
      hash.update_field(tar.filename().string()).update_u64(bytes_.back());
      hash.update_u64(static_cast<std::uint64_t>(status.st_mtim.tv_sec));
      hash.update_u64(static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
    }
    identity_ = hash.finish();
  }

  void seek(SourcePlace place) override {
    start(place.part);
    // The samples before it are read again: only so are the keys known that came before.
    while (place_.item < place.item && reader_ && reader_->next()) {
      ++place_.item;
    }
    if (place_.item < place.item) {
      throw DataError(place.part < tars_.size() ? tars_[place.part] : tars_.back(),
                      "has fewer samples than when it was read before");
    }
  }

  std::optional<SourceItem> next() override {
    while (place_.part < tars_.size()) {
      if (!reader_) {
        start(place_.part);
      }
      if (std::optional<SourceItem> item = reader_->next()) {
        ++place_.item;
        return item;
      }
      bytes_before_ += bytes_[place_.part];
      place_ = {.part = place_.part + 1, .item = 0};
      reader_.reset();
    }
    return std::nullopt;
  }

  [[nodiscard]] SourcePlace place() const override { return place_; }
  [[nodiscard]] std::optional<std::uint64_t> total() override { return std::nullopt; }
  [[nodiscard]] double part_done() override {
    if (place_.part >= tars_.size()) {
      return 1.0;
    }
    const std::uint64_t done = bytes_before_ + (reader_ ? reader_->bytes_read() : 0);
    return static_cast<double>(done) / static_cast<double>(std::max<std::uint64_t>(1, all_bytes_));
  }
  [[nodiscard]] Digest identity() const override { return identity_; }

 private:
  void start(std::uint64_t part) {
    place_ = {.part = part, .item = 0};
    bytes_before_ = 0;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(part, tars_.size()); ++i) {
      bytes_before_ += bytes_[i];
    }
    reader_.reset();
    if (part < tars_.size()) {
      reader_ = std::make_unique<SampleReader>(tars_[part], source_);
    }
  }

  WebDatasetSource source_;
  std::vector<fs::path> tars_;
  std::vector<std::uint64_t> bytes_;
  std::uint64_t all_bytes_ = 0;
  std::uint64_t bytes_before_ = 0;  // of the tars before this one
  Digest identity_;
  std::unique_ptr<SampleReader> reader_;
  SourcePlace place_;
};

}  // namespace

std::unique_ptr<CaptionedSource> open_webdataset(const WebDatasetSource& source) {
  return std::make_unique<WebDataset>(source);
}

}  // namespace soup
