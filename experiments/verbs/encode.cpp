// soup encode: a shard's latents and text states, made once for all trainings.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "experiments/verbs/compute_options.hpp"
#include "experiments/verbs/enum_choice.hpp"
#include "experiments/verbs/torch_verbs.hpp"
#include "trainer/shard_encoder.hpp"

namespace soup {

namespace {

struct EncodeArguments {
  std::string shard;
  std::string model;
  std::string output;
  EncodeOptions options;
  bool remove = false;
  ComputeOptions compute;
};

int encode(const EncodeArguments& arguments) {
  const at::Device device = set_up(arguments.compute);
  const DiffusionModel model = load_model(arguments.model, WeightSet::raw, device);
  print_remarks(model);
  const std::string& output = arguments.output.empty() ? arguments.shard : arguments.output;
  Log log;
  const EncodeReport report = encode_shard(arguments.shard, model, arguments.options, output, log);
  if (arguments.remove && output != arguments.shard) {
    std::filesystem::remove(arguments.shard);
  }
  fmt::print("{}: {} images and {} different texts encoded in {:.1f} s\n", output, report.images, report.texts,
             report.seconds);
  if (report.truncated > 0) {
    fmt::print("{} texts are longer than the {} tokens that the text encoder takes; their ends are lost\n",
               report.truncated, model.tokenizer->max_length());
  }
  return 0;
}

}  // namespace

Verb add_encode(CLI::App& program) {
  auto arguments = std::make_shared<EncodeArguments>();
  CLI::App* app = program.add_subcommand("encode", "Put a model's latents and text states into a shard file");
  app->description(
      "Encodes a shard's images with the autoencoder of a model folder (AutoencoderKL: means and variances) and its\n"
      "captions with its text encoder, and keeps both in the shard. Trainings of models with these encoders then read\n"
      "them instead of computing them at every step. Stopped or killed, the same command goes on where it was.\n"
      "`soup import ... --latents MODEL` does this at once.");
  app->add_option("shard", arguments->shard, "Shard file")->required()->check(CLI::ExistingFile);
  app->add_option("--model", arguments->model, "Model folder")->required()->check(CLI::ExistingDirectory);
  app->add_option("--output", arguments->output, "Shard file to write; the shard itself when left out");
  app->add_option("--type", arguments->options.type, "How numbers are kept")
      ->transform(one_of<FloatType>({{"f16", FloatType::f16}, {"f32", FloatType::f32}}))
      ->default_str("f16");
  app->add_option("--batch", arguments->options.batch, "Images at a time; more only need more memory on a CPU")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app->add_option("--clip-skip", arguments->options.clip_skip,
                  "Layer of the text encoder, from the end; as ingredients.clip_skip")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app->add_flag("--remove-input", arguments->remove, "Remove the input once the output is there");
  add_compute_options(*app, arguments->compute);
  app->footer(help_footer("  soup encode photos.h5 --model stable-diffusion-2-base"));
  return {app, [arguments] { return encode(*arguments); }};
}

}  // namespace soup
