// soup merge: models in, their exact average out, or what another method makes of them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>
#include <optional>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "experiments/merge_job.hpp"
#include "experiments/recipe.hpp"
#include "experiments/verbs/merge_sweep.hpp"
#include "experiments/verbs/verbs.hpp"
#include "merge/method.hpp"

namespace soup {

namespace {

// Of the help: flags that a recipe replaces.
constexpr const char* recipe_group = "What to merge and how, without --recipe";

struct MergeArguments {
  std::vector<std::string> inputs;
  std::vector<std::string> weights;
  std::string base;
  std::string recipe_file;
  std::string output;
  Recipe recipe;  // of the flags
  SweepArguments sweep;
  MergeWork work;
};

void apply_weights(const std::vector<std::string>& weights, std::vector<RecipeInput>& inputs) {
  for (const std::string& text : weights) {
    const std::size_t equals = std::min(text.find('='), text.size());
    const std::string name = text.substr(0, equals);
    const auto input = std::ranges::find(inputs, name, &RecipeInput::name);
    if (input == inputs.end()) {
      throw ConfigError("--weight " + text, {}, fmt::format("no input is named \"{}\"", name),
                        "write --weight NAME=2, with the name of an input");
    }
    const char* end = text.data() + text.size();
    const char* begin = text.data() + std::min(equals + 1, text.size());
    const auto [stop, error] = std::from_chars(begin, end, input->weight);
    if (error != std::errc() || stop != end) {
      throw ConfigError("--weight " + text, {}, "the weight is no number",
                        "1:2 is --weight a=1 --weight b=2, a quarter and the rest --weight a=0.25 --weight b=0.75");
    }
  }
}

void add_storage(CLI::App& app, Recipe& recipe) {
  app.add_option("--dtype", recipe.dtype,
                 "Number type of the soup; \"input\": the inputs'. One rounding from the exact sums")
      ->check(CLI::IsMember({"f64", "f32", "f16", "bf16", "input"}))
      ->capture_default_str();
  app.add_option("--shard-size", recipe.shard_size,
                 "Largest file of a part, as 5GB: more become several files with an index; as the first input when\n"
                 "left out")
      ->type_name("SIZE");
  app.add_option(
         "--accumulator", recipe.accumulator,
         "What a soup's folder keeps for add and remove: the sums in 4 bytes a weight beside the soup (compact;\n"
         "f32 only), in 8 (wide), or nothing")
      ->check(CLI::IsMember({"compact", "wide", "none"}))
      ->capture_default_str();
  app.add_option("--variant", recipe.variant, "Variant of the inputs' weights, as fp16 for x.fp16.safetensors");
  app.add_option("--scale-bits", recipe.scale_bits, "Binary places of the fixed point; as many as fit when left out")
      ->check(CLI::Range(16, 52));
}

void add_method(CLI::App& app, MergeArguments& arguments) {
  Recipe& recipe = arguments.recipe;
  std::vector<std::string> methods = method_names();
  methods.insert(methods.begin(), mean_method);
  app.add_option("--method", recipe.method, "How to merge; merge/README.md says what each does")
      ->check(CLI::IsMember(methods))
      ->capture_default_str();
  app.add_option("--base", arguments.base,
                 "Model that the inputs come from: what methods start from, or a mean with --lambda is pulled back to");
  const auto add_parameter = [&](const std::string& name, const std::string& purpose) {
    app.add_option_function<double>(
        "--" + name, [&recipe, name](double value) { recipe.parameters[name] = value; }, purpose);
  };
  add_parameter("lambda", "Factor of the difference from the base: below 1 for the mean, 1 when left out elsewhere");
  add_parameter("density", "Share of each difference that TIES keeps, by magnitude; 0.2 when left out");
  add_parameter("drop", "Probability with which DARE drops an element; 0.9 when left out");
  app.add_option("--seed", recipe.seed, "Of what DARE draws; 0 when left out");
}

void add_work(CLI::App& app, MergeArguments& arguments) {
  MergeWork& work = arguments.work;
  app.add_option("--threads", work.threads, "Threads; all processors when left out")->check(CLI::Range(1, 128));
  app.add_flag("--overwrite", work.overwrite, "Replace an output that exists");
  app.add_flag_callback(
      "--no-digests", [&work] { work.digests = false; },
      "Do not compute SHA-256 of inputs and soup: faster, and the soup cannot say what is in it (one file only)");
  app.add_flag_callback(
      "--no-sync", [&work] { work.sync = Sync::no; },
      "Do not wait until the soup is on the disk: a power cut soon after may tear it");
}

// The recipe of a file, or of the flags.
Recipe recipe_of(const CLI::App& app, const MergeArguments& arguments) {
  if (!arguments.recipe_file.empty()) {
    for (const CLI::Option* option : app.get_options()) {
      const bool is_of_recipe = option->get_group() == recipe_group || option->get_positional();
      if (is_of_recipe && option->count() > 0) {
        throw ConfigError(fmt::format("{} and --recipe are both given", option->get_name()),
                          "the recipe says all that is merged and how");
      }
    }
    return read_recipe(arguments.recipe_file);
  }
  if (arguments.inputs.empty()) {
    throw ConfigError("there is nothing to merge", "name models, or a --recipe that does");
  }
  Recipe recipe = arguments.recipe;
  for (const std::string& text : arguments.inputs) {
    NamedPath named = named_path(text);
    recipe.inputs.push_back({std::move(named.name), std::move(named.path)});
  }
  apply_weights(arguments.weights, recipe.inputs);
  if (!arguments.base.empty()) {
    recipe.base = {"base", arguments.base};
  }
  return recipe;
}

// What was made, as a line for the user.
std::string merge_one(const Recipe& recipe, const std::string& output, const MergeWork& work) {
  MergeJob job = merge_job(recipe);
  MergeOptions& options = job.options;
  options.work = work;
  for (const std::string& note : job.notes) {
    fmt::print("{}\n", note);
  }
  const Ledger ledger = merge(job.inputs, output, options);
  return fmt::format(
      "{}: soup {} of {} ingredients, {}", output,
      options.work.digests ? ledger.soup_digest().brief() : "without digests", ledger.ingredients.size(),
      options.method ? "method " + ledger.method() : fmt::format("total weight {}", ledger.total_weight));
}

int run_merge(const CLI::App& app, const MergeArguments& arguments) {
  require_sweep_flags(arguments.sweep, !arguments.weights.empty());
  const Recipe recipe = recipe_of(app, arguments);
  install_stop_signals();
  Log log;
  std::optional<Progress> progress;
  MergeWork work = arguments.work;
  work.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (!progress) {
      progress.emplace(log, "merge", total, "bytes");
    }
    progress->advance_to(done);
  };
  const std::string made = arguments.sweep.steps > 0 ? make_sweep(arguments.sweep, recipe, arguments.output, work)
                                                     : merge_one(recipe, arguments.output, work);
  progress.reset();
  fmt::print("{}\n", made);
  become_render(arguments.sweep, arguments.output, arguments.work);
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
      "thread, whatever the inputs. Other methods than the mean, weights by tensor and real weights come from a "
      "recipe\n"
      "(merge/README.md lists its keys), simple ones from flags.");
  app->add_option("inputs", arguments->inputs, "Models: PATH or NAME=PATH");
  app->add_option("--recipe", arguments->recipe_file,
                  "YAML file that says what to merge and how, in place of inputs and flags");
  app->add_option("--output", arguments->output,
                  "Soup to write: one file where it ends in .safetensors, else a folder with ledger.json")
      ->required();
  app->option_defaults()->group(recipe_group);
  app->add_option("--weight", arguments->weights, "Weight of an input, 1 when left out (any number of times)")
      ->type_name("NAME=X")
      ->allow_extra_args(false);
  app->add_option("--part", arguments->recipe.parts,
                  "Parts to average, as unet (any number of times); those that were trained when left out")
      ->allow_extra_args(false);
  add_storage(*app, arguments->recipe);
  add_method(*app, *arguments);
  app->option_defaults()->group("Many soups at once");
  add_sweep(*app, arguments->sweep);
  app->option_defaults()->group("Work");
  add_work(*app, *arguments);
  app->footer(
      help_footer("  soup merge runs/x/ingredients/oxygen runs/x/ingredients/numix --output mixed\n"
                  "  soup merge a=first.safetensors b=second.safetensors --weight b=2 --output soup.safetensors\n"
                  "  soup merge a b --base sd --method ties --density 0.3 --output ties\n"
                  "  soup merge --recipe mix.yaml --output mixed\n"
                  "  soup merge oxygen numix faenza --sweep 4 --output mixes --render mixes.png --prompt \"devices "
                  "printer\""));
  return {app, [app, arguments] { return run_merge(*app, *arguments); }};
}

}  // namespace soup
