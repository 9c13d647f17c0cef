// Checkpoints of a trainer.
#include "trainer/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <span>
#include <string>

#include "core/error.hpp"
#include "core/safetensors.hpp"

namespace soup {

namespace fs = std::filesystem;

namespace {

constexpr int checkpoint_version = 1;
constexpr std::string_view prefix = "checkpoint-";
constexpr std::string_view suffix = ".safetensors";
constexpr std::size_t point_fields = 4;

// Images in the name of a checkpoint file, or nullopt for other files.
std::optional<std::uint64_t> images_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) {
    return std::nullopt;
  }
  const std::string_view digits =
      std::string_view(name).substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  std::uint64_t images = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), images);
  if (error != std::errc{} || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return images;
}

// Newest first.
std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<std::pair<std::uint64_t, fs::path>> found;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, missing)) {
    if (const std::optional<std::uint64_t> images = images_of(entry.path())) {
      found.emplace_back(*images, entry.path());
    }
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> paths;
  for (auto& [images, path] : found) {
    paths.push_back(std::move(path));
  }
  return paths;
}

struct NamedBuffer {
  std::string_view name;
  std::span<float> values;
};

std::array<NamedBuffer, 4> named(const TrainBuffers& buffers) {
  return {{{"weights", buffers.weights},
           {"ema", buffers.ema},
           {"first_moment", buffers.first_moment},
           {"second_moment", buffers.second_moment}}};
}

std::vector<double> pack(const std::vector<LossPoint>& curve) {
  std::vector<double> values;
  for (const LossPoint& point : curve) {
    values.insert(values.end(),
                  {static_cast<double>(point.images), point.loss, point.learning_rate, point.held_out_loss});
  }
  return values;
}

// Over key and tensor bytes in file order.
Digest content_digest(const Digest& key, std::span<const std::span<const std::byte>> tensors) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(key.bytes)));
  for (const std::span<const std::byte> tensor : tensors) {
    hash.update(tensor);
  }
  return hash.finish();
}

const std::string& field(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.metadata().find(name);
  if (found == file.metadata().end()) {
    throw DataError(file.path(), "checkpoint has no metadata field '" + name + "'");
  }
  return found->second;
}

std::uint64_t number(const SafetensorsFile& file, const std::string& name) {
  const std::string& text = field(file, name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw DataError(file.path(), fmt::format("metadata field '{}' is '{}', not a whole number", name, text));
  }
  return value;
}

// Exact: a double is stored as hexadecimal text.
double real(const SafetensorsFile& file, const std::string& name) {
  const std::string& text = field(file, name);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || end != text.c_str() + text.size()) {
    throw DataError(file.path(), fmt::format("metadata field '{}' is '{}', not a number", name, text));
  }
  return value;
}

// The bytes of a tensor of `count` values (any count when nullopt).
std::span<const std::byte> tensor_bytes(const SafetensorsFile& file, std::string_view name, DType dtype,
                                        std::optional<std::size_t> count) {
  const TensorInfo* tensor = file.find(name);
  if (tensor == nullptr || tensor->dtype != dtype ||
      (count && tensor->end - tensor->begin != *count * size_of(dtype))) {
    throw DataError(file.path(),
                    fmt::format("tensor '{}' is missing or not {} of the expected size", name, name_of(dtype)));
  }
  return file.bytes(*tensor);
}

TrainClock read_one(const fs::path& path, const Digest& key, const Digest& layout, const TrainBuffers& buffers) {
  const SafetensorsFile file(path);
  if (number(file, "version") != checkpoint_version) {
    throw DataError(path, "checkpoint of version " + field(file, "version") + ", this program reads " +
                              std::to_string(checkpoint_version));
  }
  if (field(file, "layout") != layout.hex()) {
    throw DataError(path,
                    "checkpoint of another model: layout " + field(file, "layout") + ", expected " + layout.hex());
  }
  std::vector<std::span<const std::byte>> tensors;
  for (const NamedBuffer& buffer : named(buffers)) {
    tensors.push_back(tensor_bytes(file, buffer.name, DType::f32, buffer.values.size()));
  }
  tensors.push_back(tensor_bytes(file, "curve", DType::f64, std::nullopt));
  // Before anything is copied, so that a broken file leaves the buffers as they were.
  const Digest digest = content_digest(key, tensors);
  if (field(file, "content") != digest.hex()) {
    throw DataError(path, "content has digest " + digest.hex() + ", its record says " + field(file, "content"));
  }
  for (std::size_t i = 0; i < named(buffers).size(); ++i) {
    std::ranges::copy(tensors[i], std::as_writable_bytes(named(buffers)[i].values).begin());
  }
  std::vector<double> curve(tensors.back().size() / sizeof(double));
  std::ranges::copy(tensors.back(), std::as_writable_bytes(std::span(curve)).begin());
  TrainClock clock;
  clock.images = number(file, "images");
  clock.steps = number(file, "steps");
  clock.window_loss = real(file, "window_loss");
  clock.window_images = number(file, "window_images");
  clock.seconds = real(file, "seconds");
  for (std::size_t i = 0; i + point_fields <= curve.size(); i += point_fields) {
    clock.curve.push_back({static_cast<std::uint64_t>(curve[i]), curve[i + 1], curve[i + 2], curve[i + 3]});
  }
  return clock;
}

// A file that says it belongs to another stage key is not broken, only not ours.
bool says_key(const fs::path& path, const Digest& key) {
  const SafetensorsFile file(path);
  return field(file, "key") == key.hex();
}

// Of a file that may be torn.
bool has_key(const fs::path& path, const Digest& key) {
  try {
    return says_key(path, key);
  } catch (const DataError&) {
    return false;
  }
}

}  // namespace

void TrainClock::add_step(std::int64_t batch) {
  images += static_cast<std::uint64_t>(batch);
  ++steps;
}

void TrainClock::add_loss(double loss, std::int64_t batch) {
  window_images += static_cast<std::uint64_t>(batch);
  window_loss += loss * static_cast<double>(batch);
}

LossPoint& TrainClock::add_point(double learning_rate) {
  curve.push_back({images, window_loss / static_cast<double>(window_images), learning_rate, -1.0});
  window_loss = 0.0;
  window_images = 0;
  return curve.back();
}

bool passed(std::uint64_t before, std::uint64_t after, std::uint64_t interval) {
  return interval > 0 && before / interval != after / interval;
}

fs::path write_checkpoint(const fs::path& folder, const Digest& key, const Digest& layout, const TrainClock& clock,
                          const TrainBuffers& buffers, std::uint64_t keep) {
  const std::vector<double> curve = pack(clock.curve);
  std::vector<TensorSource> tensors;
  std::vector<std::span<const std::byte>> contents;
  for (const NamedBuffer& buffer : named(buffers)) {
    tensors.push_back({std::string(buffer.name),
                       DType::f32,
                       {static_cast<std::int64_t>(buffer.values.size())},
                       std::as_bytes(buffer.values)});
  }
  tensors.push_back({"curve",
                     DType::f64,
                     {static_cast<std::int64_t>(clock.curve.size()), static_cast<std::int64_t>(point_fields)},
                     std::as_bytes(std::span(curve))});
  for (const TensorSource& tensor : tensors) {
    contents.push_back(tensor.bytes);
  }
  const std::map<std::string, std::string> metadata = {
      {"format", "soup-checkpoint"},
      {"version", std::to_string(checkpoint_version)},
      {"key", key.hex()},
      {"layout", layout.hex()},
      {"content", content_digest(key, contents).hex()},
      {"images", std::to_string(clock.images)},
      {"steps", std::to_string(clock.steps)},
      {"window_loss", fmt::format("{:a}", clock.window_loss)},
      {"window_images", std::to_string(clock.window_images)},
      {"seconds", fmt::format("{:a}", clock.seconds)},
  };
  fs::path path = folder / fmt::format("{}{:012}{}", prefix, clock.images, suffix);
  write_safetensors(path, tensors, metadata);
  // Those of other settings or data, however many images they are of, go before any of this training.
  std::vector<fs::path> all = checkpoints_in(folder);
  std::stable_partition(all.begin(), all.end(), [&key](const fs::path& each) { return has_key(each, key); });
  for (std::size_t i = keep; i < all.size(); ++i) {
    std::error_code ignored;
    fs::remove(all[i], ignored);
  }
  return path;
}

std::optional<TrainClock> read_checkpoint(const fs::path& folder, const Digest& key, const Digest& layout,
                                          const TrainBuffers& buffers, Log& log) {
  for (const fs::path& path : checkpoints_in(folder)) {
    try {
      if (!says_key(path, key)) {
        log.warn(path.string() + " belongs to other settings or data and is not used");
        continue;
      }
      return read_one(path, key, layout, buffers);
    } catch (const DataError& error) {
      log.warn(fmt::format("checkpoint not usable, trying the one before it: {}", error.what()));
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> newest_checkpoint_images(const fs::path& folder) {
  const std::vector<fs::path> all = checkpoints_in(folder);
  return all.empty() ? std::nullopt : images_of(all.front());
}

void keep_newest_checkpoint(const fs::path& folder, const fs::path& other) {
  const std::vector<fs::path> all = checkpoints_in(folder);
  if (!all.empty()) {
    fs::copy_file(all.front(), other / all.front().filename());
  }
}

}  // namespace soup
