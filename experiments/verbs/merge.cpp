// soup merge: models in, their exact average out.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <map>
#include <memory>
#include <optional>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
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

// "2GB", "500MiB", "1000000".
std::uint64_t bytes_of(const std::string& text) {
  static const std::map<std::string, std::uint64_t> units{{"", 1},
                                                          {"B", 1},
                                                          {"KB", 1000},
                                                          {"MB", 1000 * 1000},
                                                          {"GB", 1000 * 1000 * 1000},
                                                          {"K", 1000},
                                                          {"KiB", 1 << 10},
                                                          {"MiB", 1 << 20},
                                                          {"GiB", 1 << 30},
                                                          {"M", 1000 * 1000},
                                                          {"G", 1000 * 1000 * 1000}};
  double value = 0.0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto unit = units.find(std::string(stop, text.data() + text.size()));
  if (error != std::errc() || unit == units.end() || !(value >= 1.0) ||
      value * static_cast<double>(unit->second) > 1e18) {
    throw ConfigError("--shard-size " + text, {}, "is no size of a file", "write it as 5GB, 500MB or 2GiB");
  }
  return static_cast<std::uint64_t>(value * static_cast<double>(unit->second));
}

void add_storage(CLI::App& app, MergeArguments& arguments) {
  MergeOptions& options = arguments.options;
  static const std::map<std::string, std::optional<DType>> dtypes{
      {"f64", DType::f64}, {"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}, {"input", std::nullopt}};
  app.add_option_function<std::string>(
         "--dtype", [&options](const std::string& name) { options.dtype = dtypes.at(name); },
         "Number type of the soup; \"input\": the inputs'. One rounding from the exact sums")
      ->check(CLI::IsMember({"f64", "f32", "f16", "bf16", "input"}))
      ->default_str("f32");
  app.add_option_function<std::string>(
         "--shard-size", [&options](const std::string& text) { options.shard_bytes = bytes_of(text); },
         "Largest file of a part, as 5GB: more become several files with an index; as the first input when left out")
      ->type_name("SIZE");
  app.add_option_function<std::string>(
         "--accumulator", [&options](const std::string& name) { options.accumulator = accumulator_kind(name); },
         "What a soup's folder keeps for add and remove: the sums in 4 bytes a weight beside the soup (compact; f32\n"
         "only), in 8 (wide), or nothing")
      ->check(CLI::IsMember({"compact", "wide", "none"}))
      ->default_str("compact");
  app.add_option("--variant", options.variant, "Variant of the inputs' weights, as fp16 for x.fp16.safetensors");
  app.add_option("--scale-bits", options.scale_bits, "Binary places of the fixed point")
      ->check(CLI::Range(16, 52))
      ->capture_default_str();
}

void add_work(CLI::App& app, MergeArguments& arguments) {
  MergeWork& work = arguments.options.work;
  app.add_option("--threads", work.threads, "Threads; all processors when left out")->check(CLI::Range(1, 128));
  app.add_flag("--overwrite", work.overwrite, "Replace an output that exists");
  app.add_flag_callback(
      "--no-digests", [&work] { work.digests = false; },
      "Do not compute SHA-256 of inputs and soup: faster, and the soup cannot say what is in it (one file only)");
  app.add_flag_callback(
      "--no-sync", [&work] { work.sync = Sync::no; },
      "Do not wait until the soup is on the disk: a power cut soon after may tear it");
}

int run_merge(const MergeArguments& arguments) {
  std::vector<MergeInput> inputs;
  for (const std::string& text : arguments.inputs) {
    NamedPath named = named_path(text);
    inputs.push_back({std::move(named.name), std::move(named.path)});
  }
  apply_weights(arguments.weights, inputs);
  MergeOptions options = arguments.options;
  if (!arguments.parts.empty()) {
    options.parts = arguments.parts;
  }
  install_stop_signals();
  Log log;
  std::optional<Progress> progress;
  options.work.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (!progress) {
      progress.emplace(log, "merge", total, "bytes");
    }
    progress->advance_to(done);
  };
  const Ledger ledger = merge(inputs, arguments.output, options);
  progress.reset();
  fmt::print("{}: soup {} of {} ingredients, total weight {}\n", arguments.output,
             options.work.digests ? ledger.soup_digest().brief() : "without digests", ledger.ingredients.size(),
             ledger.total_weight);
  return 0;
}

}  // namespace

Verb add_merge(CLI::App& program) {
  auto arguments = std::make_shared<MergeArguments>();
  CLI::App* app = program.add_subcommand("merge", "Average models exactly, without training and without a GPU");
  app->description(
      "Makes a soup of models. A model is a folder in diffusers' layout, a folder with weights and config.json, or a\n"
      "weights file: .safetensors, .safetensors.index.json with its files, .h5 or .hdf5. Models must have the same\n"
      "tensors and, where they say so, the same base. Weights are averaged in 64-bit integers, so the order of the\n"
      "inputs does not matter, and `soup add` and `soup remove` come to the same bits. Memory stays at about 2 MiB a\n"
      "thread, whatever the inputs.");
  app->add_option("inputs", arguments->inputs, "Models: PATH or NAME=PATH")->required();
  app->add_option("--output", arguments->output,
                  "Soup to write: one file where it ends in .safetensors, else a folder with ledger.json")
      ->required();
  app->add_option("--weight", arguments->weights, "Integer weight of an input, 1 when left out (any number of times)")
      ->type_name("NAME=N")
      ->allow_extra_args(false);
  app->add_option("--part", arguments->parts,
                  "Parts to average, as unet (any number of times); those that were trained when left out")
      ->allow_extra_args(false);
  add_storage(*app, *arguments);
  add_work(*app, *arguments);
  app->footer(
      help_footer("  soup merge runs/x/ingredients/oxygen runs/x/ingredients/numix --output mixed\n"
                  "  soup merge a=first.safetensors b=second.safetensors --weight b=2 --output soup.safetensors"));
  return {app, [arguments] { return run_merge(*arguments); }};
}

}  // namespace soup
