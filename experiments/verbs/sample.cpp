// soup sample: images from any model folder.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "data/image.hpp"
#include "experiments/sweep_rendering.hpp"
#include "experiments/verbs/compute_options.hpp"
#include "experiments/verbs/enum_choice.hpp"
#include "experiments/verbs/torch_verbs.hpp"
#include "trainer/noise_file.hpp"
#include "trainer/sampler.hpp"
#include "trainer/tensor_file.hpp"

namespace soup {

namespace {

struct SampleArguments {
  std::string model;
  std::string sweep;
  std::vector<std::string> prompts;
  std::string output = "samples.png";
  std::string noise;         // safetensors file to begin from
  std::string save_latents;  // safetensors file to write
  WeightSet weights = WeightSet::raw;
  SampleOptions options;
  std::uint64_t seed = 0;
  std::int64_t count = 1;
  std::int64_t height = 0;  // 0: the model's own
  std::int64_t width = 0;
  int zoom = 4;
  ComputeOptions compute;
};

// How many tokens a text may have is the tokenizer's to know; what is lost is said.
void warn_of_long_texts(const DiffusionModel& model, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (model.tokenizer->encode(text).truncated) {
      fmt::print(stderr,
                 "soup: warning: \"{}\" is longer than the {} tokens that the text encoder takes; its end is lost\n",
                 excerpt(text), model.tokenizer->max_length());
    }
  }
}

void require_ema(const std::string& model, WeightSet weights) {
  if (weights == WeightSet::ema && !has_ema_weights(model)) {
    throw DataError(model, "holds no moving average of its weights (unet_ema)", "leave --weights ema out");
  }
}

int sample(const SampleArguments& arguments) {
  const at::Device device = set_up(arguments.compute);
  require_place_for(arguments.output);
  if (!arguments.save_latents.empty()) {
    require_place_for(arguments.save_latents);
  }
  if (!arguments.sweep.empty()) {
    const Image sheet = render_sweep(arguments.sweep, {arguments.prompts, arguments.count, arguments.weights,
                                                       arguments.options, arguments.seed, arguments.zoom, device});
    write_png(arguments.output, sheet);
    fmt::print("{}: the soups of {}, {} x {} pixels\n", arguments.output, arguments.sweep, sheet.width, sheet.height);
    return 0;
  }
  require_ema(arguments.model, arguments.weights);
  const DiffusionModel model = load_model(arguments.model, arguments.weights, device);
  print_remarks(model);
  warn_of_long_texts(model, arguments.prompts);
  warn_of_long_texts(model, {arguments.options.negative_prompt});
  std::vector<std::string> prompts;
  for (const std::string& prompt : arguments.prompts) {
    prompts.insert(prompts.end(), static_cast<std::size_t>(arguments.count), prompt);
  }
  const auto count = static_cast<std::int64_t>(prompts.size());
  const std::int64_t own = model.native_side();
  const InitialNoise noise = arguments.noise.empty() ? sample_noise(model, SeedTree(arguments.seed), 0, count,
                                                                    arguments.height > 0 ? arguments.height : own,
                                                                    arguments.width > 0 ? arguments.width : own)
                                                     : read_noise(arguments.noise, count, model, arguments.options);
  const at::Tensor latents = sample_latents(model, prompts, noise, arguments.options);
  if (!arguments.save_latents.empty()) {
    write_tensors(arguments.save_latents, {{"latents", latents}});
  }
  const std::vector<Image> images = decode_images(model, latents);
  const int columns =
      arguments.count > 1 ? static_cast<int>(arguments.count) : std::min<int>(8, static_cast<int>(images.size()));
  write_png(arguments.output, image_grid(images, columns, 2, arguments.zoom));
  fmt::print("{}: {} images of {} x {} pixels\n", arguments.output, images.size(), images.front().height,
             images.front().width);
  return 0;
}

void add_sampler_options(CLI::App& app, SampleOptions& options) {
  const auto words = [](const auto& names) { return std::vector<std::string>(names.begin(), names.end()); };
  app.add_option("--sampler", options.sampler.sampler, "How noise becomes an image")
      ->check(CLI::IsMember(words(sampler_names)))
      ->capture_default_str();
  app.add_option("--steps", options.sampler.steps, "Steps of the sampler")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--spacing", options.sampler.spacing, "Spacing of the timesteps; model: as its scheduler says")
      ->check(CLI::IsMember(words(spacing_names)))
      ->capture_default_str();
  app.add_flag("--karras", options.sampler.karras, "Noise levels of Karras et al. 2022 (euler, dpmpp_2m)");
  app.add_option("--guidance", options.guidance, "Guidance scale; 1 = none")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--guidance-rescale", options.guidance_rescale,
                 "Part of the guided prediction rescaled against overexposure (Lin et al. 2024)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--negative-prompt", options.negative_prompt, "What guidance leads away from");
  app.add_option("--batch", options.batch, "Images at a time")->check(CLI::Range(1, 4096))->capture_default_str();
}

}  // namespace

Verb add_sample(CLI::App& program) {
  auto arguments = std::make_shared<SampleArguments>();
  CLI::App* app = program.add_subcommand("sample", "Make images from captions with any model folder");
  app->description(
      "Draws images with classifier-free guidance from a model folder (a base, an ingredient, a soup, a folder of\n"
      "diffusers) and lays them out in one PNG: a row per prompt with --count, else eight to a row. Equal seeds give\n"
      "equal images. To compare with another implementation, give both the same --noise and look at --save-latents.\n"
      "All soups of a sweep start from the same noise and are laid out as their weights are: 2 inputs beside each\n"
      "other, 3 as a triangle, more as a row each.");
  CLI::Option_group* source = app->add_option_group("Models", "One of the two");
  source->add_option("--model", arguments->model, "Model folder in diffusers' layout")->check(CLI::ExistingDirectory);
  CLI::Option* sweep = source->add_option("--sweep", arguments->sweep, "Folder that `soup merge --sweep` made")
                           ->check(CLI::ExistingDirectory);
  source->require_option(1);
  app->add_option("--prompt", arguments->prompts, "Caption (any number of times)")->required()->allow_extra_args(false);
  app->add_option("--output", arguments->output, "PNG to write")->capture_default_str();
  app->add_option("--count", arguments->count, "Images per prompt")->check(CLI::Range(1, 4096))->capture_default_str();
  add_sampler_options(*app, arguments->options);
  app->add_option("--height", arguments->height, "Pixels; the model's own when left out")
      ->check(CLI::Range(1, 16384))
      ->excludes(sweep);
  app->add_option("--width", arguments->width, "Pixels; the model's own when left out")
      ->check(CLI::Range(1, 16384))
      ->excludes(sweep);
  CLI::Option* seed = app->add_option("--seed", arguments->seed, "Seed of the initial noise")->capture_default_str();
  app->add_option("--noise", arguments->noise,
                  "safetensors file with the initial noise instead: tensor `noise` [images, channels, h, w], standard\n"
                  "normal; with euler_a also `step_noise` [steps, images, channels, h, w]")
      ->check(CLI::ExistingFile)
      ->excludes(seed, sweep)
      ->excludes(app->get_option("--height"), app->get_option("--width"));
  app->add_option("--save-latents", arguments->save_latents,
                  "safetensors file to write the final latents to: tensor `latents` [images, channels, h, w]")
      ->excludes(sweep);
  app->add_option("--clip-skip", arguments->options.clip_skip,
                  "Which layer's state of the text encoder is used: 1 the last, 2 the one before")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app->add_option("--weights", arguments->weights, "Weights of the last step, or their moving average")
      ->transform(one_of<WeightSet>({{"raw", WeightSet::raw}, {"ema", WeightSet::ema}}))
      ->default_str("raw");
  app->add_option("--zoom", arguments->zoom, "Pixels of the PNG per pixel of the image")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  add_compute_options(*app, arguments->compute);
  app->footer(help_footer(
      "  soup sample --model runs/quickstart/soup --prompt \"devices printer, oxygen style\" --count 4\n"
      "  soup sample --model sd2-folder --prompt \"a red bicycle\" --sampler dpmpp_2m --karras --steps 20 --guidance "
      "7.5 "
      "--zoom 1\n"
      "  soup sample --sweep mixes --prompt \"devices printer\" --prompt \"places folder\" --output mixes.png"));
  return {app, [arguments] { return sample(*arguments); }};
}

}  // namespace soup
