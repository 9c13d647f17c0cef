// soup convert: a model between a folder of diffusers and one file of the original layout.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/verbs/enum_choice.hpp"
#include "experiments/verbs/torch_verbs.hpp"
#include "trainer/single_file.hpp"

namespace soup {

namespace {

struct ConvertArguments {
  std::string input;
  std::string output;
  std::string like;
  DType dtype = DType::f16;
  WeightSet weights = WeightSet::raw;
  bool overwrite = false;
};

int convert(const ConvertArguments& arguments) {
  const std::filesystem::path output = arguments.output;
  if (!arguments.overwrite && std::filesystem::exists(std::filesystem::symlink_status(output))) {
    throw ConfigError(fmt::format("the output {} exists already", arguments.output),
                      "give another name, or --overwrite to replace it");
  }
  if (std::filesystem::is_directory(arguments.input)) {
    if (output.extension() != ".safetensors") {
      throw ConfigError(fmt::format("{} is a folder, so the output must be a .safetensors file, not {}",
                                    arguments.input, arguments.output));
    }
    require_place_for(output);
    if (arguments.weights == WeightSet::ema && !has_ema_weights(arguments.input)) {
      throw DataError(arguments.input, "holds no moving average of its weights (unet_ema)", "leave --weights ema out");
    }
    const DiffusionModel model = load_model(arguments.input, arguments.weights);
    print_remarks(model);
    save_single_file(output, model, arguments.dtype, {});
    fmt::print("{}: {} MB of {}\n", arguments.output, std::filesystem::file_size(output) / 1'000'000,
               name_of(arguments.dtype));
    return 0;
  }
  if (arguments.like.empty()) {
    throw ConfigError(
        fmt::format("{} is a single file, which holds no configuration and no tokenizer", arguments.input),
        "name a model folder of the same shape: --like FOLDER (its weights may be missing)");
  }
  if (output.extension() == ".safetensors") {
    throw ConfigError(
        fmt::format("{} is a single file, so the output must be a folder, not {}", arguments.input, arguments.output));
  }
  const DiffusionModel model = load_single_file(arguments.input, arguments.like);
  print_remarks(model);
  AtomicFolder folder(output);
  save_model(folder.partial(), model, {});
  folder.commit();
  fmt::print("{}: a model folder\n", arguments.output);
  return 0;
}

}  // namespace

Verb add_convert(CLI::App& program) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* app = program.add_subcommand("convert", "A model folder to one file of the original layout, and back");
  app->description(
      "Writes a model folder of diffusers as one .safetensors file with the keys of the original Stable Diffusion\n"
      "(which AUTOMATIC1111's program and ComfyUI read), or reads such a file into a folder. A single file holds no\n"
      "configuration and no tokenizer: those are taken from a folder of the same shape.");
  app->add_option("input", arguments->input, "Model folder, or .safetensors file")
      ->required()
      ->check(CLI::ExistingPath);
  app->add_option("output", arguments->output, ".safetensors file, or model folder")->required();
  app->add_option("--like", arguments->like, "Reading a file: folder with its configurations and tokenizer")
      ->check(CLI::ExistingDirectory);
  app->add_option("--dtype", arguments->dtype, "Writing a file: type of its weights")
      ->transform(one_of<DType>({{"f16", DType::f16}, {"bf16", DType::bf16}, {"f32", DType::f32}}))
      ->default_str("f16");
  app->add_option("--weights", arguments->weights, "Writing a file: the last weights, or their moving average")
      ->transform(one_of<WeightSet>({{"raw", WeightSet::raw}, {"ema", WeightSet::ema}}))
      ->default_str("raw");
  app->add_flag("--overwrite", arguments->overwrite, "Replace an output that exists");
  app->footer(
      help_footer("  soup convert runs/photos/soup photos-soup.safetensors\n"
                  "  soup convert v1-5-pruned.safetensors sd15 --like sd15-config"));
  return {app, [arguments] { return convert(*arguments); }};
}

}  // namespace soup
