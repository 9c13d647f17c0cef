// Activation checkpointing as a node of the autograd graph.
#include "trainer/recompute.hpp"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <utility>

#include "core/error.hpp"
#include "trainer/autocast.hpp"

namespace soup {
namespace {

using Body = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

class RecomputeNode : public torch::autograd::Node {
 public:
  RecomputeNode(Body body, std::vector<at::Tensor> inputs, bool autocast)
      : body_(std::move(body)), inputs_(std::move(inputs)), autocast_(autocast) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    SOUP_REQUIRE(!inputs_.empty(), "a recomputed block has one backward pass");
    std::vector<at::Tensor> inputs;
    for (const at::Tensor& input : inputs_) {
      inputs.push_back(input.defined() ? input.detach() : input);
      if (input.defined()) {
        inputs.back().set_requires_grad(input.requires_grad());
      }
    }
    {
      const at::AutoGradMode enable(true);
      at::Tensor output;
      {
        const AutocastScope autocast(gradients[0].device(), autocast_);
        output = body_(inputs);
      }
      torch::autograd::backward({output}, {gradients[0]});
    }
    torch::autograd::variable_list result;
    for (const at::Tensor& input : inputs) {
      result.push_back(input.defined() && input.requires_grad() ? input.grad() : at::Tensor());
    }
    return result;
  }

  void release_variables() override {
    inputs_.clear();
    body_ = nullptr;
  }

 private:
  Body body_;
  std::vector<at::Tensor> inputs_;
  bool autocast_;
};

}  // namespace

at::Tensor recomputed(const Body& body, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) {
    return body(inputs);
  }
  at::Tensor output;
  {
    const at::NoGradGuard forget;
    output = body(inputs);
  }
  const bool autocast = at::autocast::is_autocast_enabled(output.device().type());
  const auto node =
      std::shared_ptr<RecomputeNode>(new RecomputeNode(body, inputs, autocast), torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  torch::autograd::set_history(output, node);
  return output;
}

}  // namespace soup
