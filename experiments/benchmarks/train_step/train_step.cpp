// The trainer's own step (trainer/training_step.hpp) on what make_model.py wrote, timed: a line of JSON.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include "trainer/training_step.hpp"
#ifdef SOUP_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/atomic_file.hpp"
#include "trainer/device.hpp"
#include "trainer/tensor_file.hpp"
#include "trainer/weight_file.hpp"

namespace {

struct Options {
  std::filesystem::path folder;
  int threads = 1;
  double seconds = 10.0;
  int steps = 0;
  std::string device = "cpu";
  bool deterministic = false;
  soup::TrainConfig training;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Times soup's training step");
  app.add_option("folder", options.folder)->required();
  app.add_option("--threads", options.threads);
  app.add_option("--seconds", options.seconds, "at least this long, after two laps of warm-up");
  app.add_option("--steps", options.steps, "exactly so many instead, none of them warm-up");
  app.add_option("--precision", options.training.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_flag("--deterministic", options.deterministic, "on a GPU: the same bits every time");
  app.add_flag("--recompute", options.training.recompute_activations);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  options.training.learning_rate = 1e-5;
  options.training.warmup_images = 0;
  options.training.lr_schedule = "constant";
  options.training.clip_norm = 0.0;  // the peer's loop has none
  return options;
}

// The U-Net alone: latents and text states are inputs.
soup::DiffusionModel load(const std::filesystem::path& folder, at::Device device) {
  const std::filesystem::path config = folder / "unet" / "config.json";
  soup::DiffusionModel model;
  model.unet = std::make_shared<soup::UNet2DConditionModel>(
      soup::UNetConfig::from_json(nlohmann::json::parse(soup::read_file(config)), config.string()));
  soup::load_weights({folder / "unet" / "diffusion_pytorch_model.safetensors"}, *model.unet);
  model.unet->to(device);
  model.autoencoder = soup::make_autoencoder("identity");
  return model;
}

soup::Batch read_batch(const std::filesystem::path& path, bool on_gpu) {
  const auto inputs = soup::read_tensors(path);
  soup::Batch batch;
  batch.moments = inputs.at("latents");
  batch.noise.added = inputs.at("noise");
  batch.timesteps = inputs.at("timesteps");
  batch.text_states = inputs.at("text");
  if (on_gpu) {
    batch.pin();
  }
  return batch;
}

void synchronise([[maybe_unused]] at::Device device) {
#ifdef SOUP_CUDA
  if (device.is_cuda()) {
    c10::cuda::device_synchronize();
  }
#endif
}

std::int64_t peak_mib([[maybe_unused]] at::Device device) {
#ifdef SOUP_CUDA
  if (device.is_cuda()) {
    return c10::cuda::CUDACachingAllocator::getDeviceStats(device.index()).allocated_bytes[0].peak >> 20;
  }
#endif
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const Options options = parse(argc, argv);
  at::set_num_threads(options.threads);
  const at::Device device = soup::use_device(
      options.device == "cpu" ? soup::ComputeDevice() : soup::choose_device(options.device, soup::probe_gpus()),
      options.deterministic);
  soup::DiffusionModel model = load(options.folder, device);
  const soup::Batch batch = read_batch(options.folder / "inputs.safetensors", !device.is_cpu());
  const auto self = soup::make_self_communicator();
  soup::TrainConfig config = options.training;
  config.batch = batch.timesteps.size(0);  // whose mean the loss is
  soup::TrainingStep training(model, config, *self);

  // Between laps the clock is read; on a GPU a lap is several steps, so that they queue as in a training.
  const int lap = options.steps > 0 ? 1 : (device.is_cpu() ? 1 : 5);
  std::vector<double> losses;
  const auto run_lap = [&] {
    for (int i = 0; i < lap; ++i) {
      const soup::StepResult result = training.accumulate(batch);
      training.apply(result, 0);
      if (losses.size() < 2) {
        losses.push_back(result.loss.item<double>());
      }
    }
    synchronise(device);
  };
  if (options.steps == 0) {
    run_lap();
    run_lap();
  }
  const auto images = static_cast<double>(batch.timesteps.size(0) * lap);
  std::vector<double> rates;
  const auto begin = Clock::now();
  const auto more = [&](Clock::time_point last) {
    return options.steps > 0 ? rates.size() < static_cast<std::size_t>(options.steps)
                             : std::chrono::duration<double>(last - begin).count() < options.seconds;
  };
  for (auto last = begin; more(last);) {
    run_lap();
    const auto now = Clock::now();
    rates.push_back(images / std::chrono::duration<double>(now - last).count());
    last = now;
  }
  std::ranges::sort(rates);
  std::cout << nlohmann::json{{"program", options.deterministic ? "soup, deterministic" : "soup"},
                              {"threads", options.threads},
                              {"batch", batch.timesteps.size(0)},
                              {"parameters", training.state().layout().count()},
                              {"losses", losses},
                              {"median", rates[rates.size() / 2]},
                              {"best", rates.back()},
                              {"steps", rates.size() * static_cast<std::size_t>(lap)},
                              {"peak_mib", peak_mib(device)}}
            << std::endl;
}
