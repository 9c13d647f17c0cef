// A shard's images and captions through a model's encoders.
#include "trainer/shard_encoder.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <torch/nn/module.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "data/caption.hpp"
#include "data/shard_file.hpp"
#include "data/shard_latents.hpp"
#include "trainer/pixels.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto save_every = std::chrono::seconds(20);

void update_weights(Sha256& hash, const torch::nn::Module& module) {
  for (const auto& item : module.named_parameters()) {
    const at::Tensor values = item.value().detach().cpu().contiguous();
    hash.update_field(item.key());
    hash.update(std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel()))));
  }
}

// A file of rows that grows, of which what is beyond the last save is made anew after a kill.
class RowFile {
 public:
  RowFile(fs::path path, std::uint64_t row_bytes, std::uint64_t rows)
      : path_(std::move(path)), file_(path_, O_RDWR | O_CREAT, path_) {
    const std::uint64_t length = row_bytes * rows;
    if (file_.size(path_) < length || ftruncate(file_.get(), static_cast<off_t>(length)) != 0 ||
        lseek(file_.get(), 0, SEEK_END) < 0) {
      throw DataError(path_, fmt::format("is not the {} bytes that its state file says", length),
                      fmt::format("remove the folder {} and start again", path_.parent_path().string()));
    }
  }
  void append(const at::Tensor& rows) {
    file_.write_all({static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()}, path_);
  }
  void sync() const { file_.sync(path_); }

 private:
  fs::path path_;
  FileDescriptor file_;
};

// The different texts of a shard: the empty one, then in order of their first appearance.
class Texts {
 public:
  explicit Texts(const ShardFile& shard) : shard_(shard) {
    number_of("", {});
    for (std::uint64_t image = 0; image < shard.size(); ++image) {
      const Source plain{image, false};
      const Source styled{image, true};
      index_.push_back({number_of(text_of(plain), plain), number_of(text_of(styled), styled)});
    }
    numbers_.clear();
  }

  [[nodiscard]] std::uint64_t size() const { return sources_.size(); }
  [[nodiscard]] std::string text(std::uint64_t number) const { return number == 0 ? "" : text_of(sources_[number]); }
  [[nodiscard]] const std::vector<TextIndex>& index() const { return index_; }

 private:
  struct Source {
    std::uint64_t image = 0;
    bool styled = false;
  };
  struct Hash {
    std::size_t operator()(const Digest& digest) const {
      std::size_t value = 0;
      std::memcpy(&value, digest.bytes.data(), sizeof value);
      return value;
    }
  };

  [[nodiscard]] std::string text_of(const Source& source) const {
    return styled_caption(shard_.caption(source.image),
                          source.styled ? shard_.style(source.image) : std::string_view());
  }
  std::uint32_t number_of(const std::string& text, Source source) {
    const auto [place, is_new] = numbers_.try_emplace(sha256(text), static_cast<std::uint32_t>(sources_.size()));
    if (is_new) {
      sources_.push_back(source);
    }
    return place->second;
  }

  const ShardFile& shard_;
  std::unordered_map<Digest, std::uint32_t, Hash> numbers_;
  std::vector<Source> sources_;
  std::vector<TextIndex> index_;
};

// What lies in the working folder.
struct EncodeState {
  std::string settings;  // digest of shard, encoders and options
  std::uint64_t images = 0;
  std::uint64_t texts = 0;
  std::uint64_t truncated = 0;
};

class ShardEncoder {
 public:
  ShardEncoder(const ShardFile& shard, const DiffusionModel& model, const EncodeOptions& options,
               const fs::path& output)
      : shard_(shard), model_(model), options_(options), folder_(output.string() + ".encoding") {
    if (const std::string encoder = autoencoder_digest(model); !encoder.empty()) {
      moments_.emplace();
      moments_->type = options.type;
      moments_->channels = static_cast<int>(2 * model.autoencoder->latent_channels(shard.channels()));
      moments_->factor = static_cast<int>(model.autoencoder->factor());
      moments_->encoder = encoder;
    }
    states_.type = options.type;
    states_.tokens = static_cast<int>(model.tokenizer->max_length());
    states_.width = static_cast<int>(model.config.text_encoder.hidden_size);
    states_.encoder = text_encoder_digest(model, options.clip_skip);
    for (const Bucket& bucket : shard.buckets()) {
      if (moments_ && (bucket.height % moments_->factor != 0 || bucket.width % moments_->factor != 0)) {
        throw DataError(shard.path(),
                        fmt::format("images of {} x {} pixels; the autoencoder needs multiples of {}", bucket.height,
                                    bucket.width, moments_->factor),
                        "import them at another resolution");
      }
    }
  }

  EncodeReport run(const fs::path& output, Log& log) {
    const Clock::time_point start = Clock::now();
    require_place_for(output);
    const bool replaced = replaces_another(log);
    const Texts texts(shard_);
    states_.texts = texts.size();
    resume(log);
    encode_texts(texts, log);
    if (moments_) {
      encode_images(log);
    }
    write_index(texts);
    EncodedFiles files;
    files.moments_format = moments_;
    files.moments = folder_ / "moments";
    files.text_format = states_;
    files.text_states = folder_ / "text_states";
    files.text_index = folder_ / "text_index";
    add_encoded(shard_, files, output);
    std::error_code ignored;  // a leftover folder changes nothing
    fs::remove_all(folder_, ignored);
    return {.images = shard_.size(),
            .texts = texts.size(),
            .truncated = state_.truncated,
            .replaced = replaced,
            .seconds = std::chrono::duration<double>(Clock::now() - start).count()};
  }

 private:
  // A shard holds one model's work; whether there is another's, which goes.
  bool replaces_another(Log& log) const {
    const std::optional<MomentsFormat>& moments = shard_.moments_format();
    const std::optional<TextStatesFormat>& states = shard_.text_states_format();
    const bool other_moments = moments && (!moments_ || moments->encoder != moments_->encoder);
    const bool other_states = states && states->encoder != states_.encoder;
    if (other_moments) {
      log.warn(fmt::format("{}: its latents are of another autoencoder ({}); {}", shard_.path().string(),
                           moments->encoder.substr(0, 12),
                           moments_ ? "they are replaced" : "this model has none, so they are left out"));
    }
    if (other_states) {
      log.warn(fmt::format("{}: its text states are of another text encoder or clip_skip ({}); they are replaced",
                           shard_.path().string(), states->encoder.substr(0, 12)));
    }
    return other_moments || other_states;
  }

  [[nodiscard]] std::string settings() const {
    Sha256 hash;
    hash.update_field("encode shard 1").update_field(shard_.root().hex()).update_field(states_.encoder);
    hash.update_field(moments_ ? moments_->encoder : "").update_u64(bytes_of(options_.type));
    return hash.finish().hex();
  }

  // Goes on from the working folder where it is of the same settings.
  void resume(Log& log) {
    fs::create_directories(folder_);
    state_.settings = settings();
    const fs::path file = folder_ / "state.json";
    if (!fs::exists(file)) {
      return;
    }
    const nlohmann::json json = nlohmann::json::parse(read_file(file, 1 << 16), nullptr, false);
    const auto number = [&json](const char* key) { return json.value(key, std::uint64_t{0}); };
    try {
      if (json.is_object() && json.value("settings", "") == state_.settings) {
        state_.images = std::min<std::uint64_t>(number("images"), shard_.size());
        state_.texts = std::min<std::uint64_t>(number("texts"), states_.texts);
        state_.truncated = number("truncated");
        log.info(fmt::format("{}: goes on after {} texts and {} images", shard_.path().string(), state_.texts,
                             state_.images));
        return;
      }
    } catch (const nlohmann::json::exception&) {
      // Numbers that are none: begun anew, as with other settings.
    }
    log.info(fmt::format("{}: what was begun is of another shard, model or type; started anew", folder_.string()));
  }

  void save() {
    write_file_atomically(folder_ / "state.json", nlohmann::json({{"settings", state_.settings},
                                                                  {"images", state_.images},
                                                                  {"texts", state_.texts},
                                                                  {"truncated", state_.truncated}})
                                                      .dump());
  }

  // Rows of the numbers that are kept.
  [[nodiscard]] at::Tensor kept(const at::Tensor& values, const char* what) const {
    const at::Tensor rows = values.to(options_.type == FloatType::f16 ? at::kHalf : at::kFloat).cpu().contiguous();
    if (!at::isfinite(rows).all().item<bool>()) {
      throw DataError(
          shard_.path(),
          fmt::format("{} beyond the range of {}", what, options_.type == FloatType::f16 ? "float16" : "float32"),
          options_.type == FloatType::f16 ? "keep float32: --type f32" : "are the encoder's weights whole?");
    }
    return rows;
  }

  // Calls step(), which advances `done`, until all are done; saves from time to time and before it stops on a signal.
  template <class Step>
  void until_done(const char* what, const RowFile& rows, std::uint64_t total, const std::uint64_t& done, Log& log,
                  Step step) {
    Progress progress(log, fmt::format("encode {} of {}", what, shard_.origin().name), total, what, done);
    Clock::time_point saved = Clock::now();
    while (done < total) {
      step();
      progress.advance_to(done);
      const bool stop = stop_requested();
      if (stop || done == total || Clock::now() - saved > save_every) {
        rows.sync();
        save();
        saved = Clock::now();
      }
      if (stop && done < total) {
        throw Interrupted(fmt::format("{}: stopped by a signal after {} of {} {}; give the same command again",
                                      shard_.path().string(), done, total, what));
      }
    }
    progress.finish();
  }

  void encode_texts(const Texts& texts, Log& log) {
    constexpr std::uint64_t batch = 32;
    RowFile rows(folder_ / "text_states", states_.text_bytes(), state_.texts);
    until_done("texts", rows, texts.size(), state_.texts, log, [&] {
      std::vector<std::string> captions;
      for (std::uint64_t i = state_.texts; i < std::min(texts.size(), state_.texts + batch); ++i) {
        captions.push_back(texts.text(i));
      }
      std::int64_t truncated = 0;
      rows.append(kept(model_.encode_text(captions, &truncated, options_.clip_skip), "text states"));
      state_.truncated += static_cast<std::uint64_t>(truncated);
      state_.texts += captions.size();
    });
  }

  void encode_images(Log& log) {
    // Rows of different sizes: the file's length is that of the images done.
    std::uint64_t bytes = 0;
    for (std::uint64_t image = 0; image < state_.images; ++image) {
      bytes += moments_->image_bytes(shard_.height(image), shard_.width(image));
    }
    RowFile rows(folder_ / "moments", 1, bytes);
    until_done("images", rows, shard_.size(), state_.images, log, [&] {
      const Bucket& bucket = shard_.bucket_of(state_.images);
      const std::uint64_t end =
          std::min(bucket.first + bucket.count, state_.images + static_cast<std::uint64_t>(options_.batch));
      std::vector<std::span<const std::uint8_t>> pixels;
      for (std::uint64_t image = state_.images; image < end; ++image) {
        pixels.push_back(shard_.pixels(image));
      }
      const at::Tensor images = pixels_to_tensor(pixels, bucket.height, bucket.width, shard_.channels());
      rows.append(kept(model_.autoencoder->encode(images.to(model_.device())), "latents"));
      state_.images = end;
    });
  }

  void write_index(const Texts& texts) const {
    static_assert(sizeof(TextIndex) == 8);
    const fs::path path = folder_ / "text_index";
    const FileDescriptor file(path, O_WRONLY | O_CREAT | O_TRUNC, path);
    file.write_all(std::as_bytes(std::span(texts.index())), path);
  }

  const ShardFile& shard_;
  const DiffusionModel& model_;
  EncodeOptions options_;
  fs::path folder_;
  std::optional<MomentsFormat> moments_;
  TextStatesFormat states_;
  EncodeState state_;
};

}  // namespace

std::string autoencoder_digest(const DiffusionModel& model) {
  const torch::nn::Module* network = model.autoencoder->network();
  if (network == nullptr) {
    return {};
  }
  Sha256 hash;
  hash.update_field("autoencoder 1").update_field(model.config.vae.to_json().dump());
  update_weights(hash, *network);
  return hash.finish().hex();
}

std::string text_encoder_digest(const DiffusionModel& model, std::int64_t clip_skip) {
  Sha256 hash;
  hash.update_field("text encoder 1").update_field(model.config.text_encoder.to_json().dump());
  hash.update_u64(static_cast<std::uint64_t>(clip_skip));
  hash.update_u64(static_cast<std::uint64_t>(model.tokenizer->max_length()));
  update_weights(hash, *model.text_encoder);
  return hash.finish().hex();
}

EncodeReport encode_shard(const fs::path& shard, const DiffusionModel& model, const EncodeOptions& options,
                          const fs::path& output, Log& log) {
  SOUP_REQUIRE(options.batch > 0, "a batch of images to encode");
  const at::NoGradGuard no_grad;
  const ShardFile opened(shard);
  return ShardEncoder(opened, model, options, output).run(output, log);
}

}  // namespace soup
