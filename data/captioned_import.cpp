// Folders and WebDatasets into shard files: data/import.hpp's import_folder and import_webdataset.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "core/text.hpp"
#include "data/aspect_buckets.hpp"
#include "data/caption_text.hpp"
#include "data/captioned_source.hpp"
#include "data/decode_pool.hpp"
#include "data/import.hpp"
#include "data/shard_writer.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t examples_kept = 100;

// The counts of a report that a resumed import goes on from.
constexpr std::array<std::pair<const char*, std::uint64_t ImportReport::*>, 8> counts{
    {{"files", &ImportReport::files},
     {"kept", &ImportReport::kept},
     {"unreadable", &ImportReport::unreadable},
     {"too_small", &ImportReport::too_small},
     {"without_caption", &ImportReport::without_caption},
     {"cleaned_captions", &ImportReport::cleaned_captions},
     {"cut_captions", &ImportReport::cut_captions},
     {"wrong_extension", &ImportReport::wrong_extension}}};

// Of all that decides the bytes of the shard.
Digest identity_of(const CaptionedSource& source, const ShardOrigin& origin, const CaptionedOptions& captioned,
                   const ImportOptions& options, const std::string& fields) {
  Sha256 hash;
  hash.update("soup captioned import 1").update_u64(shard_file_version);
  hash.update_field(source.identity().hex()).update_field(fields);
  for (const std::string* text : {&origin.name, &origin.source, &origin.licence, &captioned.style}) {
    hash.update_field(*text);
  }
  for (const ImageSize& size : sizes_of(captioned, options.resolution)) {
    hash.update_u64(static_cast<std::uint64_t>(size.height)).update_u64(static_cast<std::uint64_t>(size.width));
  }
  hash.update_u64(static_cast<std::uint64_t>(captioned.missing_caption));
  hash.update_u64(static_cast<std::uint64_t>(captioned.fit));
  hash.update_u64(static_cast<std::uint64_t>(captioned.min_side)).update_u64(captioned.max_pixels);
  hash.update_u64(captioned.limit);
  hash.update_field(fmt::format("{}", options.seconds_per_image));
  return hash.finish();
}

// Lines that wait in the half-made shard's folder until it is whole.
class Notes {
 public:
  Notes(const fs::path& folder, fs::path final_path, std::uint64_t bytes)
      : path_(folder / "notes.jsonl"),
        final_path_(std::move(final_path)),
        file_(path_, O_RDWR | O_CREAT | O_APPEND, final_path_),
        bytes_(bytes) {
    if (ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) {
      throw DataError(final_path_, "cannot go back to what was saved of it: " + errno_text(errno));
    }
  }
  void add(const std::string& item, const char* kind, const std::string& why) {
    const nlohmann::ordered_json note = {{"item", excerpt(item, 4096)}, {"kind", kind}, {"why", excerpt(why, 1000)}};
    const std::string line = note.dump() + "\n";
    file_.write_all(std::as_bytes(std::span(line)), final_path_);
    bytes_ += line.size();
  }
  void sync() const { file_.sync(final_path_); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // Under its final name, or nothing there when there is nothing to say; where it is.
  fs::path finish() {
    if (bytes_ == 0) {
      std::error_code ignored;
      fs::remove(final_path_, ignored);
      return {};
    }
    AtomicPath out(final_path_);
    std::error_code error;
    if (!fs::copy_file(path_, out.partial(), error)) {
      throw DataError(final_path_, "cannot be written: " + error.message(), errno_hint(error.value()));
    }
    out.commit();
    return final_path_;
  }

 private:
  fs::path path_;
  fs::path final_path_;
  FileDescriptor file_;
  std::uint64_t bytes_;
};

// An item between being read and being written.
struct Pending {
  std::string name;
  std::string caption;
  std::string key;
  const char* kind = "broken";  // of note, should it have an error
  bool has_caption = true;
  bool cleaned = false;
  bool cut = false;
  SourcePlace behind;
};

class CaptionedImport {
 public:
  CaptionedImport(CaptionedSource& source, const fs::path& where, ShardOrigin origin, const CaptionedOptions& captioned,
                  const ImportOptions& options, const std::string& fields, const fs::path& path, Log& log)
      : source_(source),
        where_(where),
        captioned_(captioned),
        options_(options),
        path_(path),
        log_(log),
        total_(source.total().value_or(0)),
        writer_(path, origin, identity_of(source, origin, captioned, options, fields)),
        notes_(writer_.folder(), options.notes.empty() ? fs::path(path.native() + ".notes.jsonl") : options.notes,
               resume()),
        progress_(log, "import " + options.shard, total_, "items", report_.files),
        saved_(Clock::now()) {}

  ImportReport run() {
    source_.seek(done_);
    if (!at_limit()) {
      DecodeOptions decode{.workers = options_.workers, .seconds_per_image = options_.seconds_per_image};
      decode.picture = PictureOptions{.sizes = sizes_of(captioned_, options_.resolution),
                                      .fit = captioned_.fit,
                                      .min_side = captioned_.min_side,
                                      .max_pixels = captioned_.max_pixels};
      decode_stream([this] { return next_job(); }, decode,
                    [this](std::size_t, Decoded decoded) { return take(std::move(decoded)); });
    }
    progress_.finish();
    require_few_broken(report_.files);
    finish();
    return report_;
  }

 private:
  // Goes on from what was saved; returns the length of the notes.
  std::uint64_t resume() {
    if (!writer_.resumed()) {
      if (writer_.replaced_another()) {
        log_.info(
            fmt::format("{}: what was half-made of it came from another source or other options, or was damaged; "
                        "the import starts anew",
                        path_.string()));
      }
      return 0;
    }
    const nlohmann::json& saved = writer_.progress();
    for (const auto& [name, member] : counts) {
      report_.*member = saved.at(name).get<std::uint64_t>();
    }
    report_.broken = saved.at("broken").get<std::vector<std::string>>();
    done_ = {saved.at("part").get<std::uint64_t>(), saved.at("item").get<std::uint64_t>()};
    ever_saved_ = true;
    log_.info(fmt::format("{}: goes on after {} items, of which {} are images of the shard", path_.string(),
                          report_.files, report_.kept));
    return saved.at("notes_bytes").get<std::uint64_t>();
  }

  void save() {
    nlohmann::json state = {
        {"part", done_.part}, {"item", done_.item}, {"broken", report_.broken}, {"notes_bytes", notes_.bytes()}};
    for (const auto& [name, member] : counts) {
      state[name] = report_.*member;
    }
    notes_.sync();
    writer_.save(state);
    ever_saved_ = true;
    saved_ = Clock::now();
  }

  [[nodiscard]] bool at_limit() const { return captioned_.limit > 0 && report_.kept >= captioned_.limit; }

  std::optional<DecodeJob> next_job() {
    std::optional<SourceItem> item = source_.next();
    if (!item) {
      return std::nullopt;
    }
    Pending pending;
    pending.name = std::move(item->name);
    pending.behind = source_.place();
    DecodeJob job{.name = pending.name, .path = std::move(item->file), .bytes = std::move(item->bytes)};
    job.error = std::move(item->problem);
    if (job.error.empty()) {
      job.error = take_texts(*item, pending);
    }
    job.caption = pending.caption;
    job.key = pending.key;
    job.style = captioned_.style;
    pending_.push_back(std::move(pending));
    return job;
  }

  // Why the item cannot be kept because of its texts, or "".
  std::string take_texts(const SourceItem& item, Pending& pending) const {
    std::optional<CleanCaption> caption = clean_caption(item.caption.value_or(""));
    const std::optional<CleanCaption> key = clean_caption(item.key.value_or(""));
    if (!caption || !key) {
      return fmt::format("its {} is not UTF-8", caption ? "key" : "caption");
    }
    pending.cleaned = caption->changed;
    pending.cut = caption->cut;
    pending.has_caption = !caption->text.empty();
    pending.caption = std::move(caption->text);
    if (!pending.has_caption && captioned_.missing_caption != MissingCaption::empty) {
      pending.kind = "caption";
      return "has no caption";
    }
    // Images without any caption have nothing in common: each is held out, or not, by its own name.
    pending.key = !key->text.empty() ? key->text : pending.has_caption ? key_of_caption(pending.caption) : pending.name;
    return {};
  }

  // Takes the results in the order of the source; false when the limit is reached.
  bool take(Decoded decoded) {
    if (stop_requested()) {
      save();
      throw Interrupted(fmt::format("stopped while importing {} after {} items; the same command goes on from there",
                                    options_.shard, report_.files));
    }
    const Pending pending = std::move(pending_.front());
    pending_.pop_front();
    if (decoded.image) {
      keep(pending, std::move(decoded));
    } else if (decoded.error.empty()) {
      ++report_.too_small;
      notes_.add(pending.name, "small", fmt::format("is {} x {}", decoded.original.height, decoded.original.width));
    } else {
      leave_out(pending, decoded.error);
    }
    ++report_.files;
    done_ = pending.behind;
    show_progress();
    if (std::chrono::duration<double>(Clock::now() - saved_).count() >= options_.save_seconds) {
      save();
    }
    return !at_limit();
  }

  void keep(const Pending& pending, Decoded decoded) {
    const std::string_view promised = format_of_name(pending.name);
    if (promised != decoded.format) {
      ++report_.wrong_extension;
      notes_.add(pending.name, "extension", fmt::format("is {} by its content; kept", decoded.format));
    }
    report_.cleaned_captions += pending.cleaned ? 1 : 0;
    report_.cut_captions += pending.cut ? 1 : 0;
    report_.without_caption += pending.has_caption ? 0 : 1;
    const Sample sample{.image = std::move(*decoded.image),
                        .caption = pending.caption,
                        .key = pending.key,
                        .style = captioned_.style,
                        .source = pending.name};
    writer_.append(sample, decoded.digests);
    ++report_.kept;
  }

  void leave_out(const Pending& pending, const std::string& why) {
    const bool caption = std::string_view(pending.kind) == "caption";
    if (caption ? captioned_.missing_caption == MissingCaption::refuse : captioned_.on_broken == OnBroken::refuse) {
      refuse(pending.name + ": " + why,
             caption
                 ? "give it one, name the caption_key under which its metadata has one, or choose missing_caption skip "
                   "or empty"
                 : "mend it, or choose on_broken skip");
    }
    notes_.add(pending.name, pending.kind, why);
    if (caption) {
      ++report_.without_caption;
      return;
    }
    ++report_.unreadable;
    if (report_.broken.size() < examples_kept) {
      report_.broken.push_back(pending.name + ": " + why);
    }
    if (source_.total()) {
      require_few_broken(*source_.total());
    }
  }

  void require_few_broken(std::uint64_t items) {
    if (static_cast<double>(report_.unreadable) > options_.max_broken_fraction * static_cast<double>(items)) {
      refuse(fmt::format("{} of {} items cannot be imported, more than the fraction {} that is allowed; the first: {}",
                         report_.unreadable, items, options_.max_broken_fraction, report_.broken.front()),
             "mend them, or allow a larger max_broken_fraction: all are then listed beside the shard");
    }
  }

  // What a long import has done stays: another choice may let the rest pass.
  [[noreturn]] void refuse(const std::string& why, const std::string& hint) {
    if (!ever_saved_) {
      writer_.discard();
    }
    throw DataError(where_, why, hint);
  }

  void show_progress() {
    if (!source_.total() && source_.part_done() > 0.0) {
      progress_.expect(static_cast<std::uint64_t>(static_cast<double>(report_.files) / source_.part_done()));
    }
    progress_.advance_to(report_.files);
  }

  void finish() {
    if (writer_.images() == 0) {
      const std::string first = report_.broken.empty() ? "" : "; the first that is broken: " + report_.broken.front();
      refuse(fmt::format("has no images for the shard: of its {} items {} are unreadable, {} too small, {} without a "
                         "caption{}",
                         report_.files, report_.unreadable, report_.too_small, report_.without_caption, first),
             "is this the right source?");
    }
    save();  // from here on a stop loses no decoded image
    writer_.finish([this] { report_.notes = notes_.finish(); });
    if (report_.wrong_extension > 0) {
      log_.warn(fmt::format("{}: the extensions of {} pictures are not those of their content; {} names them",
                            options_.shard, report_.wrong_extension, report_.notes.string()));
    }
  }

  CaptionedSource& source_;
  const fs::path& where_;
  const CaptionedOptions& captioned_;
  const ImportOptions& options_;
  const fs::path& path_;
  Log& log_;
  ImportReport report_;
  SourcePlace done_;  // behind the last item that was taken
  bool ever_saved_ = false;
  std::uint64_t total_;  // 0: not known; read before anything is written
  ShardWriter writer_;
  Notes notes_;
  Progress progress_;
  Clock::time_point saved_;
  std::deque<Pending> pending_;
};

}  // namespace

std::vector<ImageSize> sizes_of(const CaptionedOptions& captioned, int resolution) {
  if (!captioned.buckets) {
    return {{resolution, resolution}};
  }
  return aspect_buckets({.resolution = resolution,
                         .step = captioned.bucket_step,
                         .least_side = captioned.bucket_least_side,
                         .most_side = captioned.bucket_most_side});
}

ImportReport import_folder(const FolderSource& source, const ImportOptions& options, const fs::path& path, Log& log) {
  const auto opened = open_image_folder(source.folder);
  const ShardOrigin origin{options.shard, "image folder " + excerpt(source.folder.path.filename().string(), 200), "",
                           source.options.licence};
  const std::string fields = source.folder.caption_key + "\n" + source.folder.held_out_key;
  return CaptionedImport(*opened, source.folder.path, origin, source.options, options, fields, path, log).run();
}

ImportReport import_webdataset(const TarsSource& source, const ImportOptions& options, const fs::path& path, Log& log) {
  const auto opened = open_webdataset(source.tars);
  const fs::path first(source.tars.tars.empty() ? "" : source.tars.tars.front());
  const ShardOrigin origin{options.shard, "WebDataset " + excerpt(first.filename().string(), 200), "",
                           source.options.licence};
  const std::string fields = source.tars.caption_key + "\n" + source.tars.held_out_key;
  return CaptionedImport(*opened, first, origin, source.options, options, fields, path, log).run();
}

}  // namespace soup
