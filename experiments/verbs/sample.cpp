// soup sample: images from any model folder.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "core/error.hpp"
#include "data/image.hpp"
#include "experiments/sweep_rendering.hpp"
#include "experiments/verbs/torch_verbs.hpp"
#include "trainer/sampler.hpp"

namespace soup {

namespace {

struct SampleArguments {
  std::string model;
  std::string sweep;
  std::vector<std::string> prompts;
  std::string output = "samples.png";
  std::string weights = "raw";
  SampleOptions options;
  std::uint64_t seed = 0;
  std::int64_t count = 1;
  int zoom = 4;
  int threads = 0;
};

int sample(const SampleArguments& arguments) {
  if (arguments.threads > 0) {
    at::set_num_threads(arguments.threads);
  }
  const WeightSet weights = arguments.weights == "ema" ? WeightSet::ema : WeightSet::raw;
  if (!arguments.sweep.empty()) {
    const Image sheet = render_sweep(arguments.sweep, {arguments.prompts, arguments.count, weights, arguments.options,
                                                       arguments.seed, arguments.zoom});
    write_png(arguments.output, sheet);
    fmt::print("{}: the soups of {}, {} x {} pixels\n", arguments.output, arguments.sweep, sheet.width, sheet.height);
    return 0;
  }
  const DiffusionModel model = load_model(arguments.model, weights);
  std::vector<std::string> prompts;
  for (const std::string& prompt : arguments.prompts) {
    prompts.insert(prompts.end(), static_cast<std::size_t>(arguments.count), prompt);
  }
  const std::int64_t resolution = model.config.unet.sample_size * model.autoencoder->factor();
  const at::Tensor noise =
      sample_noise(model, SeedTree(arguments.seed), 0, static_cast<std::int64_t>(prompts.size()), resolution);
  const std::vector<Image> images = sample_images(model, prompts, noise, arguments.options);
  const int columns =
      arguments.count > 1 ? static_cast<int>(arguments.count) : std::min<int>(8, static_cast<int>(images.size()));
  write_png(arguments.output, image_grid(images, columns, 2, arguments.zoom));
  fmt::print("{}: {} images of {} x {} pixels\n", arguments.output, images.size(), resolution, resolution);
  return 0;
}

}  // namespace

Verb add_sample(CLI::App& program) {
  auto arguments = std::make_shared<SampleArguments>();
  CLI::App* app = program.add_subcommand("sample", "Make images from captions with any model folder");
  app->description(
      "Draws images with DDIM and classifier-free guidance from a model folder (a base, an ingredient, a soup) and "
      "lays\n"
      "them out in one PNG: a row per prompt with --count, else eight to a row. Equal seeds give equal images. All "
      "soups\n"
      "of a sweep start from the same noise and are laid out as their weights are: 2 inputs beside each other, 3 as a\n"
      "triangle, more as a row each.");
  CLI::Option_group* source = app->add_option_group("Models", "One of the two");
  source->add_option("--model", arguments->model, "Model folder in diffusers' layout")->check(CLI::ExistingDirectory);
  source->add_option("--sweep", arguments->sweep, "Folder that `soup merge --sweep` made")
      ->check(CLI::ExistingDirectory);
  source->require_option(1);
  app->add_option("--prompt", arguments->prompts, "Caption (any number of times)")->required()->allow_extra_args(false);
  app->add_option("--output", arguments->output, "PNG to write")->capture_default_str();
  app->add_option("--count", arguments->count, "Images per prompt")->check(CLI::Range(1, 4096))->capture_default_str();
  app->add_option("--steps", arguments->options.steps, "DDIM steps")->check(CLI::Range(1, 1000))->capture_default_str();
  app->add_option("--guidance", arguments->options.guidance, "Guidance scale; 1 = none")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app->add_option("--seed", arguments->seed, "Seed of the initial noise")->capture_default_str();
  app->add_option("--weights", arguments->weights, "raw or ema")
      ->check(CLI::IsMember({"raw", "ema"}))
      ->capture_default_str();
  app->add_option("--zoom", arguments->zoom, "Pixels of the PNG per pixel of the image")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app->add_option("--threads", arguments->threads, "Threads; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->footer(help_footer(
      "  soup sample --model runs/quickstart/soup --prompt \"devices printer, oxygen style\" --count 4\n"
      "  soup sample --sweep mixes --prompt \"devices printer\" --prompt \"places folder\" --output mixes.png"));
  return {app, [arguments] { return sample(*arguments); }};
}

}  // namespace soup
