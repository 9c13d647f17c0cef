// One training step as the trainer does it (noise, forward, loss, backward, clipping left out, AdamW) on what
// make_model.py wrote, timed: a line of JSON.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/atomic_file.hpp"
#include "trainer/adamw.hpp"
#include "trainer/autocast.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/flat_state.hpp"
#include "trainer/tensor_file.hpp"
#include "trainer/unet.hpp"
#include "trainer/weight_file.hpp"

namespace {

struct Options {
  std::filesystem::path folder;
  int threads = 1;
  double seconds = 10.0;
  int steps = 0;
  std::string precision = "fp32";
  bool recompute = false;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Times soup's training step");
  app.add_option("folder", options.folder)->required();
  app.add_option("--threads", options.threads);
  app.add_option("--seconds", options.seconds, "at least this long, after two steps of warm-up");
  app.add_option("--steps", options.steps, "exactly so many instead, none of them warm-up");
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_flag("--recompute", options.recompute);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const Options options = parse(argc, argv);
  at::set_num_threads(options.threads);

  const std::filesystem::path config = options.folder / "unet" / "config.json";
  soup::UNet2DConditionModel unet(
      soup::UNetConfig::from_json(nlohmann::json::parse(soup::read_file(config)), config.string()));
  soup::load_weights({options.folder / "unet" / "diffusion_pytorch_model.safetensors"}, unet);
  unet.recompute_activations(options.recompute);
  soup::FlatState state({{"unet", &unet}});
  soup::AdamW optimizer(state, soup::TrainConfig());
  const soup::DenoisingObjective objective(soup::NoiseSchedule(soup::ScheduleConfig()), at::kCPU);
  const auto inputs = soup::read_tensors(options.folder / "inputs.safetensors");
  const at::Tensor& latents = inputs.at("latents");
  const at::Tensor& timesteps = inputs.at("timesteps");
  const soup::LatentNoise noise{.added = inputs.at("noise")};

  const auto step = [&] {
    at::Tensor loss;
    {
      const soup::AutocastScope autocast(at::kCPU, options.precision == "bf16");
      const at::Tensor prediction =
          unet.forward(objective.noised(latents, noise, timesteps), timesteps, inputs.at("text"));
      loss = objective.loss(prediction, objective.target(latents, noise, timesteps), timesteps).mean();
    }
    loss.backward();
    optimizer.step(std::array<double, 1>{1e-5});
    state.gradients().zero_();
    return loss.item<double>();
  };
  std::vector<double> losses;
  if (options.steps == 0) {
    losses.push_back(step());
    losses.push_back(step());
  }
  const auto batch = static_cast<double>(latents.size(0));
  std::vector<double> rates;
  const auto begin = Clock::now();
  const auto more = [&](Clock::time_point last) {
    return options.steps > 0 ? rates.size() < static_cast<std::size_t>(options.steps)
                             : std::chrono::duration<double>(last - begin).count() < options.seconds;
  };
  for (auto last = begin; more(last);) {
    const double loss = step();
    const auto now = Clock::now();
    rates.push_back(batch / std::chrono::duration<double>(now - last).count());
    last = now;
    if (losses.size() < 2) {
      losses.push_back(loss);
    }
  }
  std::ranges::sort(rates);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << nlohmann::json{{"program", "soup"},
                              {"threads", options.threads},
                              {"batch", latents.size(0)},
                              {"parameters", state.layout().count()},
                              {"losses", losses},
                              {"median", rates[rates.size() / 2]},
                              {"best", rates.back()},
                              {"steps", rates.size()},
                              {"peak_mib", usage.ru_maxrss / 1024}}
            << std::endl;
}
