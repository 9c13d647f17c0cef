// soup merge: models in, their exact average out.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <map>
#include <memory>

#include "core/error.hpp"
#include "experiments/verbs/verbs.hpp"
#include "merge/merge_files.hpp"

namespace soup {

namespace {

struct MergeArguments {
  std::vector<std::string> inputs;
  std::vector<std::string> weights;
  std::vector<std::string> parts;
  std::string output;
  MergeOptions options;
};

// "name=path", or a path whose last component becomes the name.
MergeInput input_of(const std::string& text) {
  MergeInput input;
  const std::size_t equals = text.find('=');
  // A folder's name may hold "=" too ("runs/rate=0.1/soup").
  if (equals != std::string::npos && equals > 0 && text.find('/') > equals) {
    input.name = text.substr(0, equals);
    input.path = text.substr(equals + 1);
    return input;
  }
  input.path = std::filesystem::path(text).lexically_normal();
  // "models/a/" has an empty file name.
  input.name = (input.path.has_filename() ? input.path : input.path.parent_path()).stem().string();
  return input;
}

void apply_weights(const std::vector<std::string>& weights, std::vector<MergeInput>& inputs) {
  for (const std::string& text : weights) {
    const std::size_t equals = std::min(text.find('='), text.size());
    const std::string name = text.substr(0, equals);
    const auto input = std::ranges::find(inputs, name, &MergeInput::name);
    if (input == inputs.end()) {
      throw ConfigError("--weight " + text, {}, fmt::format("no input is named \"{}\"", name),
                        "write --weight NAME=2, with the name of an input");
    }
    const char* end = text.data() + text.size();
    const char* begin = text.data() + std::min(equals + 1, text.size());
    const auto [stop, error] = std::from_chars(begin, end, input->weight);
    if (error != std::errc() || stop != end || input->weight < 1) {
      throw ConfigError("--weight " + text, {}, "the weight is no integer of at least 1",
                        "weights are integers so that the soup is exact: 1:2 is --weight a=1 --weight b=2");
    }
  }
}

}  // namespace

Verb add_merge(CLI::App& program) {
  auto arguments = std::make_shared<MergeArguments>();
  CLI::App* app = program.add_subcommand("merge", "Average models exactly, without training and without a GPU");
  app->description(
      "Makes a soup of models: of diffusers-style folders a folder with ledger.json, of .safetensors files a file. "
      "Models\n"
      "must have the same tensors and, where they say so, the same base. Weights are averaged in 64-bit integers, so "
      "the\n"
      "order of the inputs does not matter and `soup add` and `soup remove` come to the same bits. Memory stays "
      "bounded.");
  app->add_option("inputs", arguments->inputs, "Models: PATH or NAME=PATH")->required();
  app->add_option("--output", arguments->output, "Soup to write: a folder, or a .safetensors file")->required();
  app->add_option("--weight", arguments->weights, "Integer weight of an input, 1 when left out (any number of times)")
      ->type_name("NAME=N")
      ->allow_extra_args(false);
  app->add_option("--part", arguments->parts,
                  "Parts to average, as unet (any number of times); those that were trained when left out")
      ->allow_extra_args(false);
  app->add_option("--scale-bits", arguments->options.scale_bits, "Binary places of the fixed point")
      ->check(CLI::Range(16, 52))
      ->capture_default_str();
  app->add_flag("--keep-dtype", arguments->options.keep_dtype, "Write the inputs' number types instead of F32");
  app->footer(
      help_footer("  soup merge runs/x/ingredients/oxygen runs/x/ingredients/numix --output mixed\n"
                  "  soup merge a=first.safetensors b=second.safetensors --weight b=2 --output soup.safetensors"));
  return {app, [arguments] {
            std::vector<MergeInput> inputs;
            for (const std::string& text : arguments->inputs) {
              inputs.push_back(input_of(text));
            }
            apply_weights(arguments->weights, inputs);
            if (!arguments->parts.empty()) {
              arguments->options.parts = arguments->parts;
            }
            const Ledger ledger = merge(inputs, arguments->output, arguments->options);
            fmt::print("{}: soup {} of {} ingredients, total weight {}\n", arguments->output,
                       ledger.soup_digest().brief(), ledger.ingredients.size(), ledger.total_weight);
            return 0;
          }};
}

}  // namespace soup
