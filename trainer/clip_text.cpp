// CLIPTextModel: a causal pre-norm transformer over token ids. Children are registered in transformers' order.
#include "trainer/clip_text.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/error.hpp"
#include "trainer/layers.hpp"

namespace soup {
namespace {

// "embeddings"
class TextEmbeddings : public torch::nn::Module {
 public:
  explicit TextEmbeddings(const TextEncoderConfig& config) {
    token_embedding_ =
        register_module("token_embedding", std::make_shared<Embedding>(config.vocab_size, config.hidden_size));
    position_embedding_ = register_module(
        "position_embedding", std::make_shared<Embedding>(config.max_position_embeddings, config.hidden_size));
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& ids) const {
    return token_embedding_->forward(ids) + position_embedding_->weight().narrow(0, 0, ids.size(1));
  }

 private:
  std::shared_ptr<Embedding> token_embedding_;
  std::shared_ptr<Embedding> position_embedding_;
};

// "self_attn"
class CausalAttention : public torch::nn::Module {
 public:
  explicit CausalAttention(const TextEncoderConfig& config) : heads_(config.num_attention_heads) {
    const std::int64_t width = config.hidden_size;
    k_proj_ = register_module("k_proj", std::make_shared<Linear>(width, width));
    v_proj_ = register_module("v_proj", std::make_shared<Linear>(width, width));
    q_proj_ = register_module("q_proj", std::make_shared<Linear>(width, width));
    out_proj_ = register_module("out_proj", std::make_shared<Linear>(width, width));
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens) const {
    const auto split = [this](const at::Tensor& all) { return all.unflatten(-1, {heads_, -1}).transpose(1, 2); };
    const at::Tensor attended = at::scaled_dot_product_attention(
        split(q_proj_->forward(tokens)), split(k_proj_->forward(tokens)), split(v_proj_->forward(tokens)),
        /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true);
    return out_proj_->forward(attended.transpose(1, 2).flatten(2));
  }

 private:
  std::int64_t heads_;
  std::shared_ptr<Linear> k_proj_;
  std::shared_ptr<Linear> v_proj_;
  std::shared_ptr<Linear> q_proj_;
  std::shared_ptr<Linear> out_proj_;
};

at::Tensor activate(const std::string& name, const at::Tensor& input) {
  if (name == "quick_gelu") {
    return input * at::sigmoid(1.702 * input);  // Hendrycks and Gimpel 2016, section 2
  }
  return at::gelu(input, name == "gelu_new" ? "tanh" : "none");  // gelu_new: their approximation by tanh
}

// "mlp"
class TextMlp : public torch::nn::Module {
 public:
  explicit TextMlp(const TextEncoderConfig& config) : activation_(config.hidden_act) {
    fc1_ = register_module("fc1", std::make_shared<Linear>(config.hidden_size, config.intermediate_size));
    fc2_ = register_module("fc2", std::make_shared<Linear>(config.intermediate_size, config.hidden_size));
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens) const {
    return fc2_->forward(activate(activation_, fc1_->forward(tokens)));
  }

 private:
  std::string activation_;
  std::shared_ptr<Linear> fc1_;
  std::shared_ptr<Linear> fc2_;
};

// "encoder.layers.N"
class EncoderLayer : public torch::nn::Module {
 public:
  explicit EncoderLayer(const TextEncoderConfig& config) {
    self_attn_ = register_module("self_attn", std::make_shared<CausalAttention>(config));
    layer_norm1_ =
        register_module("layer_norm1", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
    mlp_ = register_module("mlp", std::make_shared<TextMlp>(config));
    layer_norm2_ =
        register_module("layer_norm2", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
  }
  [[nodiscard]] at::Tensor forward(at::Tensor tokens) const {
    tokens = tokens + self_attn_->forward(layer_norm1_->forward(tokens));
    return tokens + mlp_->forward(layer_norm2_->forward(tokens));
  }

 private:
  std::shared_ptr<CausalAttention> self_attn_;
  std::shared_ptr<LayerNorm> layer_norm1_;
  std::shared_ptr<TextMlp> mlp_;
  std::shared_ptr<LayerNorm> layer_norm2_;
};

}  // namespace

struct CLIPTextModel::Blocks {
  std::shared_ptr<TextEmbeddings> embeddings;
  std::shared_ptr<ModuleSequence<EncoderLayer>> layers;
  std::shared_ptr<LayerNorm> final_layer_norm;
};

CLIPTextModel::CLIPTextModel(const TextEncoderConfig& config) : config_(config), blocks_(std::make_unique<Blocks>()) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw ConfigError("text encoder: " + problem);
  }
  blocks_->embeddings = register_module("embeddings", std::make_shared<TextEmbeddings>(config));
  const auto encoder = register_module("encoder", std::make_shared<torch::nn::Module>("encoder"));
  blocks_->layers = encoder->register_module("layers", std::make_shared<ModuleSequence<EncoderLayer>>());
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    blocks_->layers->append(std::make_shared<EncoderLayer>(config));
  }
  blocks_->final_layer_norm =
      register_module("final_layer_norm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
}

CLIPTextModel::~CLIPTextModel() = default;

const TextEncoderConfig& CLIPTextModel::config() const {
  return config_;
}

at::Tensor CLIPTextModel::forward(const at::Tensor& ids, std::int64_t clip_skip) {
  SOUP_REQUIRE(ids.dim() == 2 && ids.size(1) <= config_.max_position_embeddings,
               fmt::format("ids must be [N, L] with L at most {}", config_.max_position_embeddings));
  if (clip_skip < 1 || clip_skip > config_.num_hidden_layers) {
    throw ConfigError(fmt::format("clip_skip = {}, but the text encoder has {} layers: 1 is the last, {} the first",
                                  clip_skip, config_.num_hidden_layers, config_.num_hidden_layers));
  }
  at::Tensor tokens = blocks_->embeddings->forward(ids);
  for (std::int64_t layer = 0; layer <= config_.num_hidden_layers - clip_skip; ++layer) {
    tokens = (*blocks_->layers)[static_cast<std::size_t>(layer)].forward(std::move(tokens));
  }
  return blocks_->final_layer_norm->forward(tokens);
}

}  // namespace soup
