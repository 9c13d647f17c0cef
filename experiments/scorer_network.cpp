#include "experiments/scorer_network.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "core/error.hpp"

namespace soup {

namespace {

constexpr std::int64_t norm_group_width = 8;  // channels per group of the group norms
constexpr double norm_epsilon = 1e-5;

at::Tensor normalised(const at::Tensor& x) {
  return x / x.norm(2, {1}, true).clamp_min(1e-8);
}

template <typename Value>
Value required(const nlohmann::json& json, const char* key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end()) {
    throw DataError(where, std::string("key '") + key + "' is missing", "is this a scorer's config.json?");
  }
  try {
    return found->get<Value>();
  } catch (const nlohmann::json::exception&) {
    throw DataError(where, std::string("key '") + key + "' has the wrong type: " + found->dump().substr(0, 80));
  }
}

}  // namespace

nlohmann::json ScorerArchitecture::to_json() const {
  return {{"_class_name", "SoupScorer"}, {"version", 1},         {"resolution", resolution}, {"channels", channels},
          {"embedding", embedding},      {"contexts", contexts}, {"styles", styles},         {"text", text.to_json()}};
}

ScorerArchitecture ScorerArchitecture::from_json(const nlohmann::json& json, const std::string& where) {
  if (!json.is_object() || json.value("_class_name", nlohmann::json()) != "SoupScorer") {
    throw DataError(where, "is not a scorer's configuration (_class_name is not 'SoupScorer')");
  }
  if (const auto version = required<std::int64_t>(json, "version", where); version != 1) {
    throw DataError(where, "has version " + std::to_string(version) + ", this program reads version 1");
  }
  ScorerArchitecture result;
  result.resolution = required<int>(json, "resolution", where);
  result.channels = required<std::vector<std::int64_t>>(json, "channels", where);
  result.embedding = required<std::int64_t>(json, "embedding", where);
  result.contexts = required<std::vector<std::string>>(json, "contexts", where);
  result.styles = required<std::vector<std::string>>(json, "styles", where);
  result.text = TextEncoderConfig::from_json(required<nlohmann::json>(json, "text", where), where);
  if (result.channels.size() < 2 || result.embedding < 1 || result.resolution < 1) {
    throw DataError(where, "channels (two or more), embedding and resolution must be positive");
  }
  for (const std::int64_t channels : result.channels) {
    if (channels < 1 || channels % norm_group_width != 0) {
      throw DataError(where, "channels holds " + std::to_string(channels) + ", which is not a positive multiple of " +
                                 std::to_string(norm_group_width));
    }
  }
  return result;
}

// Halves the resolution, then one residual block with normalisation before the activations (He et al. 2016).
struct ScorerNetwork::Stage : public torch::nn::Module {
  Stage(std::int64_t in, std::int64_t out)
      : down(register_module("down", std::make_shared<Conv2d>(in, out, 3, 2))),
        norm1(register_module("norm1", std::make_shared<GroupNorm>(out / norm_group_width, out, norm_epsilon))),
        conv1(register_module("conv1", std::make_shared<Conv2d>(out, out, 3))),
        norm2(register_module("norm2", std::make_shared<GroupNorm>(out / norm_group_width, out, norm_epsilon))),
        conv2(register_module("conv2", std::make_shared<Conv2d>(out, out, 3))) {}

  at::Tensor forward(const at::Tensor& input) const {
    const at::Tensor x = down->forward(input);
    const at::Tensor hidden = conv1->forward(norm1->forward_silu(x));
    return x + conv2->forward(norm2->forward_silu(hidden));
  }

  std::shared_ptr<Conv2d> down;
  std::shared_ptr<GroupNorm> norm1;
  std::shared_ptr<Conv2d> conv1;
  std::shared_ptr<GroupNorm> norm2;
  std::shared_ptr<Conv2d> conv2;
};

ScorerNetwork::ScorerNetwork(const ScorerArchitecture& architecture) : architecture_(architecture) {
  const auto& channels = architecture_.channels;
  const std::int64_t width = channels.back();
  const auto contexts = static_cast<std::int64_t>(architecture_.contexts.size());
  const auto styles = static_cast<std::int64_t>(architecture_.styles.size());
  stem_ = register_module("stem", std::make_shared<Conv2d>(3, channels.front(), 3));
  stages_ = register_module("stages", std::make_shared<ModuleSequence<Stage>>());
  for (std::size_t i = 1; i < channels.size(); ++i) {
    stages_->append(std::make_shared<Stage>(channels[i - 1], channels[i]));
  }
  final_norm_ =
      register_module("final_norm", std::make_shared<GroupNorm>(width / norm_group_width, width, norm_epsilon));
  image_projection_ =
      register_module("image_projection", std::make_shared<Linear>(width, architecture_.embedding, false));
  text_projection_ = register_module(
      "text_projection", std::make_shared<Linear>(architecture_.text.hidden_size, architecture_.embedding, false));
  context_head_ = register_module("context_head", std::make_shared<Linear>(width, contexts));
  style_head_ = register_module("style_head", std::make_shared<Linear>(width, styles));
  text_ = register_module("text", std::make_shared<CLIPTextModel>(architecture_.text));
  logit_scale_ = register_parameter("logit_scale", at::full({1}, std::log(1.0 / 0.07)));
  feature_mean_ = register_buffer("feature_mean", at::zeros({width}));
  feature_deviation_ = register_buffer("feature_deviation", at::ones({width}));
}

ScorerNetwork::~ScorerNetwork() = default;

ScorerNetwork::ImageOutput ScorerNetwork::forward_images(const at::Tensor& images) {
  at::Tensor x = at::silu(stem_->forward(images));
  for (const auto& stage : *stages_) {
    x = stage->forward(x);
  }
  const at::Tensor features = final_norm_->forward_silu(x).mean({2, 3});
  return {features, normalised(image_projection_->forward(features)), context_head_->forward(features),
          style_head_->forward(features)};
}

at::Tensor ScorerNetwork::forward_texts(const at::Tensor& ids) {
  const at::Tensor states = text_->forward(ids);  // [N, L, W]
  // argmax of a 0/1 row is its first 1: captions are padded with the end token.
  const at::Tensor end = ids.eq(architecture_.text.eos_token_id).to(at::kInt).argmax(1);
  const at::Tensor pooled =
      states.gather(1, end.view({-1, 1, 1}).expand({-1, 1, states.size(2)})).squeeze(1);  // [N, W]
  return normalised(text_projection_->forward(pooled));
}

}  // namespace soup
