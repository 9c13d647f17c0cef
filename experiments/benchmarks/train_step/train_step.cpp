// One training step of configs/base-icons.yaml's U-Net as the trainer does it (noise, forward, v-loss, backward,
// AdamW), timed: images per second as JSON.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "trainer/adamw.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/flat_state.hpp"
#include "trainer/initialise.hpp"

namespace {

struct Options {
  int threads = 1;
  std::int64_t batch = 32;
  std::int64_t size = 16;
  std::int64_t in_channels = 3;
  std::int64_t text_length = 16;
  std::vector<std::int64_t> channels = {32, 64, 96};
  double seconds = 10.0;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Times soup's training step on random data");
  app.add_option("--threads", options.threads);
  app.add_option("--batch", options.batch);
  app.add_option("--size", options.size, "latent height and width");
  app.add_option("--in-channels", options.in_channels, "latent channels");
  app.add_option("--text-length", options.text_length);
  app.add_option("--channels", options.channels, "block_out_channels, e.g. 32,64,96")->delimiter(',');
  app.add_option("--seconds", options.seconds, "at least this long, after two steps of warm-up");
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

  soup::UNetConfig config;
  config.sample_size = options.size;
  config.in_channels = config.out_channels = options.in_channels;
  config.block_out_channels = options.channels;
  config.down_block_types = {"DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"};
  config.up_block_types = {"CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"};
  soup::UNet2DConditionModel unet(config);
  soup::initialise(unet, "unet", soup::SeedTree(1));
  soup::FlatState state({{"unet", &unet}});
  soup::AdamW optimizer(state, soup::TrainConfig());
  const soup::NoiseSchedule schedule{soup::ScheduleConfig()};

  const at::Tensor latents = at::randn({options.batch, options.in_channels, options.size, options.size});
  const at::Tensor text = at::randn({options.batch, options.text_length, config.cross_attention_dim});
  const auto step = [&] {
    const at::Tensor timesteps = at::randint(schedule.steps(), {options.batch}, at::kLong);
    const soup::NoisedLatents pair = soup::add_noise(schedule, latents, at::randn_like(latents), timesteps);
    at::mse_loss(unet.forward(pair.noised, timesteps, text), pair.target).backward();
    optimizer.step(1e-4);
    state.gradients().zero_();
  };
  step();
  step();
  std::vector<double> rates;
  const auto begin = Clock::now();
  for (auto last = begin; std::chrono::duration<double>(last - begin).count() < options.seconds;) {
    step();
    const auto now = Clock::now();
    rates.push_back(static_cast<double>(options.batch) / std::chrono::duration<double>(now - last).count());
    last = now;
  }
  std::ranges::sort(rates);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << nlohmann::json{{"program", "soup"},
                              {"threads", options.threads},
                              {"channels", options.channels},
                              {"in_channels", options.in_channels},
                              {"size", options.size},
                              {"parameters", state.layout().count()},
                              {"median", rates[rates.size() / 2]},
                              {"best", rates.back()},
                              {"steps", rates.size()},
                              {"peak_mib", usage.ru_maxrss / 1024}}
            << std::endl;
}
