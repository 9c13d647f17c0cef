// Small model folders in diffusers' layout for tests of merging: a U-Net, its EMA, a frozen text encoder.
#include "tests/merge/models.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "merge/float_formats.hpp"
#include "merge/ingredient_record.hpp"

namespace soup::test {

namespace fs = std::filesystem;

namespace {

void write_unet(const fs::path& file, const std::string& seed, const Flaws& flaws) {
  const auto width = static_cast<std::size_t>(flaws.width);
  std::vector<float> conv = weights_named(seed + " conv", width * 3);
  std::vector<float> bias = weights_named(seed + " bias", 7);
  if (flaws.poison != 0.0F) {
    conv[17] = flaws.poison;
  }
  const auto stored = [&](const std::vector<float>& values) {
    std::vector<std::byte> bytes(values.size() * size_of(flaws.dtype));
    encode(std::vector<double>(values.begin(), values.end()), flaws.dtype, bytes);
    return bytes;
  };
  const std::vector<std::byte> conv_bytes = stored(conv);
  const std::vector<std::byte> bias_bytes = stored(bias);
  const std::array<std::int64_t, 2> steps{1, flaws.steps};
  fs::create_directories(file.parent_path());
  const std::vector<TensorSource> tensors{{"conv.weight", flaws.dtype, {flaws.width, 3}, conv_bytes},
                                          {"steps", DType::i64, {2}, std::as_bytes(std::span(steps))},
                                          {"conv.bias", flaws.dtype, {7}, bias_bytes}};
  write_safetensors(file, tensors, {{"made_by", seed}});
  write_file_atomically(file.parent_path() / "config.json", flaws.config);
}

}  // namespace

std::vector<float> weights_named(const std::string& name, std::size_t count) {
  RandomStream stream = SeedTree(5).stream("weights", name, 0);
  std::vector<float> values(count);
  stream.fill_normal(values);
  for (float& value : values) {
    value *= 0.03F;
  }
  return values;
}

MergeInput make_ingredient(const fs::path& root, const std::string& name, std::int64_t weight, const Flaws& flaws) {
  const fs::path folder = root / name;
  write_unet(folder / unet_file, name, flaws);
  write_unet(folder / ema_file, name + " ema", flaws);
  fs::create_directories(folder / "text_encoder");
  fs::create_directories(folder / "tokenizer");
  fs::create_directories(folder / "checkpoint");
  const std::vector<float> text = weights_named(flaws.text, 11);
  const std::vector<TensorSource> tensors{{"embedding", DType::f32, {11}, std::as_bytes(std::span(text))}};
  write_safetensors(folder / text_file, tensors, {{"made_by", name}});
  write_file_atomically(folder / "tokenizer" / "merges.txt", "a b\n");
  write_file_atomically(folder / "checkpoint" / "state", "of " + name);  // no part of the model
  write_file_atomically(folder / "DONE", name);
  write_file_atomically(folder / "model_index.json",
                        R"({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
  "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
  "safety_checker": [null, null]})");
  if (flaws.with_record) {
    IngredientRecord record;
    record.name = name;
    record.base_digest = sha256(flaws.base);
    record.data_root_digest = sha256("data of " + name);
    record.config_digest = sha256("config");
    record.images = 640;
    record.seed = UINT64_MAX;
    record.shards = {"data/" + name + ".h5"};
    record.trained_parts = {"unet", "unet_ema"};
    record.weights = part_digests(folder);
    write_ingredient_record(folder, record);
  }
  return {name, folder, weight};
}

std::string merge_refusal(const fs::path& root, const std::vector<MergeInput>& inputs, const MergeOptions& options) {
  const auto entries = [&] { return std::distance(fs::directory_iterator(root), fs::directory_iterator()); };
  const auto before = entries();
  std::string message;
  try {
    merge(inputs, root / "refused", options);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_EQ(entries(), before) << "files left behind";
  return message;
}

HistoryStep random_step(RandomStream& stream, std::vector<MergeInput>& in, std::vector<MergeInput>& out) {
  const bool add = in.size() == 1 || (!out.empty() && stream.below(2) == 0);
  std::vector<MergeInput>& from = add ? out : in;
  const auto chosen = from.begin() + static_cast<std::ptrdiff_t>(stream.below(from.size()));
  HistoryStep step{*chosen, add};
  from.erase(chosen);
  (add ? in : out).push_back(step.moved);
  return step;
}

std::vector<float> floats_of(const fs::path& path, const std::string& tensor) {
  const SafetensorsFile file(path);
  const TensorInfo* info = file.find(tensor);
  if (info == nullptr) {
    return {};
  }
  std::vector<float> values((info->end - info->begin) / size_of(info->dtype));
  decode(info->dtype, file.bytes(*info), values);
  return values;
}

std::vector<std::int64_t> integers_of(const fs::path& path, const std::string& tensor) {
  const SafetensorsFile file(path);
  const TensorInfo* info = file.find(tensor);
  if (info == nullptr || info->dtype != DType::i64) {
    return {};
  }
  std::vector<std::int64_t> values((info->end - info->begin) / sizeof(std::int64_t));
  std::memcpy(values.data(), file.bytes(*info).data(), info->end - info->begin);
  return values;
}

std::string bytes_of(const fs::path& file) {
  return read_file(file);
}

}  // namespace soup::test
