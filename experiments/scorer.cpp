#include "experiments/scorer.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "experiments/square_image.hpp"

namespace soup {

namespace {

constexpr std::int64_t scoring_batch = 256;  // bounds memory, not results

// Parameters and buffers by name, in registration order.
std::vector<std::pair<std::string, at::Tensor>> named_tensors(const ScorerNetwork& network) {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const auto& item : network.named_parameters()) {
    result.emplace_back(item.key(), item.value());
  }
  for (const auto& item : network.named_buffers()) {
    result.emplace_back(item.key(), item.value());
  }
  return result;
}

void load_tensors(const ScorerNetwork& network, const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  auto tensors = named_tensors(network);
  // Position ids and other integer buffers of the text tower are not weights.
  std::erase_if(tensors, [](const auto& entry) { return entry.second.scalar_type() != at::kFloat; });
  for (const TensorInfo& info : file.tensors()) {
    if (std::none_of(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first == info.name; })) {
      throw DataError(path, "holds the tensor '" + info.name + "', which the scorer of its config.json does not have");
    }
  }
  for (auto& [name, tensor] : tensors) {
    const TensorInfo* info = file.find(name);
    if (info == nullptr) {
      throw DataError(path, "lacks the tensor '" + name + "'");
    }
    if (info->dtype != DType::f32 || !std::ranges::equal(info->shape, tensor.sizes())) {
      throw DataError(path, "tensor '" + name + "' differs in type or shape from what config.json asks for");
    }
    const auto bytes = file.bytes(*info);
    at::Tensor value = at::empty(tensor.sizes(), at::kFloat);
    std::memcpy(value.data_ptr<float>(), bytes.data(), bytes.size());
    tensor.detach().copy_(value);
  }
}

at::Tensor image_tensor(std::span<const Image> images, std::int64_t resolution) {
  at::Tensor x = at::empty({static_cast<std::int64_t>(images.size()), 3, resolution, resolution});
  for (std::size_t i = 0; i < images.size(); ++i) {
    x[static_cast<std::int64_t>(i)].copy_(square_tensor(images[i], resolution));
  }
  return x;
}

}  // namespace

std::int64_t class_index(const std::vector<std::string>& classes, std::string_view word) {
  const auto found = std::ranges::find(classes, word);
  return found == classes.end() ? -1 : found - classes.begin();
}

at::Tensor token_ids(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  at::Tensor ids = at::empty({static_cast<std::int64_t>(texts.size()), tokenizer.max_length()}, at::kLong);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const TokenizedCaption caption = tokenizer.encode(texts[i]);
    SOUP_REQUIRE(static_cast<std::int64_t>(caption.ids.size()) == tokenizer.max_length(), "caption length");
    std::ranges::copy(caption.ids, ids[static_cast<std::int64_t>(i)].data_ptr<std::int64_t>());
  }
  return ids;
}

Scorer::Scorer(std::shared_ptr<ScorerNetwork> network, std::shared_ptr<const Tokenizer> tokenizer)
    : network_(std::move(network)), tokenizer_(std::move(tokenizer)) {
  network_->eval();
}

Scorer Scorer::load(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / "config.json";
  const nlohmann::json config = nlohmann::json::parse(read_file(config_path), nullptr, false);
  if (config.is_discarded()) {
    throw DataError(config_path, "is not JSON");
  }
  const ScorerArchitecture architecture = ScorerArchitecture::from_json(config, config_path.string());
  auto tokenizer = std::make_shared<Tokenizer>(Tokenizer::load(folder / "tokenizer"));
  if (tokenizer->vocab_size() > architecture.text.vocab_size ||
      tokenizer->max_length() > architecture.text.max_position_embeddings) {
    throw DataError(folder, "the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                                " symbols and captions of " + std::to_string(tokenizer->max_length()) +
                                " tokens; config.json allows " + std::to_string(architecture.text.vocab_size) +
                                " and " + std::to_string(architecture.text.max_position_embeddings));
  }
  auto network = std::make_shared<ScorerNetwork>(architecture);
  load_tensors(*network, folder / "model.safetensors");
  Scorer scorer(std::move(network), std::move(tokenizer));
  scorer.digest_ = sha256_file(folder / "model.safetensors");
  return scorer;
}

void Scorer::save(const std::filesystem::path& folder) const {
  write_file_atomically(folder / "config.json", architecture().to_json().dump(2) + "\n");
  std::filesystem::create_directories(folder / "tokenizer");
  tokenizer_->save(folder / "tokenizer");
  std::vector<at::Tensor> kept;  // keeps the bytes alive that the sources point to
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : named_tensors(*network_)) {
    if (tensor.scalar_type() != at::kFloat) {
      continue;
    }
    kept.push_back(tensor.detach().contiguous());
    const auto values = std::span<const float>(kept.back().data_ptr<float>(), static_cast<std::size_t>(tensor.numel()));
    sources.push_back({name, DType::f32, tensor.sizes().vec(), std::as_bytes(values)});
  }
  write_safetensors(folder / "model.safetensors", sources, {{"format", "pt"}});
}

ImageScores Scorer::score(const std::vector<Image>& images) const {
  const c10::InferenceMode inference;
  const auto width = architecture().channels.back();
  std::vector<at::Tensor> embeddings{at::empty({0, architecture().embedding})};
  std::vector<at::Tensor> features{at::empty({0, width})};
  std::vector<at::Tensor> contexts{at::empty({0, static_cast<std::int64_t>(architecture().contexts.size())})};
  std::vector<at::Tensor> styles{at::empty({0, static_cast<std::int64_t>(architecture().styles.size())})};
  for (std::size_t begin = 0; begin < images.size(); begin += scoring_batch) {
    const std::size_t end = std::min(images.size(), begin + scoring_batch);
    const auto output = network_->forward_images(
        image_tensor(std::span(images).subspan(begin, end - begin), architecture().resolution));
    embeddings.push_back(output.embeddings);
    features.push_back((output.features - network_->feature_mean()) / network_->feature_deviation());
    contexts.push_back(output.contexts.softmax(1));
    styles.push_back(output.styles.softmax(1));
  }
  return {at::cat(embeddings), at::cat(features), at::cat(contexts), at::cat(styles)};
}

at::Tensor Scorer::embed_texts(const std::vector<std::string>& texts) const {
  const c10::InferenceMode inference;
  std::vector<at::Tensor> parts{at::empty({0, architecture().embedding})};
  for (std::size_t begin = 0; begin < texts.size(); begin += scoring_batch) {
    const std::size_t end = std::min(texts.size(), begin + scoring_batch);
    parts.push_back(
        network_->forward_texts(token_ids(*tokenizer_, {texts.begin() + static_cast<std::ptrdiff_t>(begin),
                                                        texts.begin() + static_cast<std::ptrdiff_t>(end)})));
  }
  return at::cat(parts);
}

}  // namespace soup
