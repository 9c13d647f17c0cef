// The part of soup merge that makes a sweep and has it rendered.
#include "experiments/verbs/merge_sweep.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "core/child_process.hpp"
#include "core/error.hpp"
#include "experiments/sweep.hpp"
#include "experiments/verbs/become_torch.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// What every sampler needs of a model's folder; reading it says the rest.
void require_renderable(const RecipeInput& input) {
  if (!fs::is_directory(input.path)) {
    throw DataError(input.path, "is no folder, but --render makes images, which takes a whole model",
                    "leave --render out, or give model folders in diffusers' layout");
  }
  for (const char* needed : {"model_index.json", "unet", "text_encoder", "tokenizer"}) {
    if (!fs::exists(input.path / needed)) {
      throw DataError(input.path,
                      fmt::format("has no {}, but --render makes images, which takes a whole model", needed),
                      "leave --render out, or give model folders in diffusers' layout");
    }
  }
}

void require_renderable(const SweepArguments& arguments, const Recipe& recipe, const fs::path& output) {
  const fs::path folder = fs::absolute(arguments.render).parent_path();
  // In the sweep's folder, which is made first, a picture may be too.
  if (!fs::is_directory(folder) && folder.lexically_relative(fs::absolute(output)) != ".") {
    throw DataError(arguments.render, "cannot be written: its folder does not exist", "make it, or give another name");
  }
  if (fs::is_directory(arguments.render)) {
    throw DataError(arguments.render, "is a folder, but --render writes a PNG file", "give the file's name");
  }
  require_soup_torch();
  for (const RecipeInput& input : recipe.inputs) {
    require_renderable(input);
  }
}

}  // namespace

void add_sweep(CLI::App& app, SweepArguments& arguments) {
  app.add_option(
         "--sweep", arguments.steps,
         "Make a soup for every way to share N equal steps out among the inputs (style mixing): with 3 inputs "
         "and\n"
         "N = 4 these are 15, from 4-0-0 to 0-0-4, in a folder with sweep.json. Each takes the space of a soup,\n"
         "half of it with --accumulator none")
      ->type_name("N")
      ->check(CLI::Range(1, most_sweep_steps));
  app.add_option("--render", arguments.render, "PNG to write of the sweep's images, as `soup sample --sweep` does");
  app.add_option("--prompt", arguments.prompts, "Caption of --render (any number of times)")->allow_extra_args(false);
}

void require_sweep_flags(const SweepArguments& arguments, bool has_weights) {
  const bool is_sweep = arguments.steps > 0;
  if (is_sweep && has_weights) {
    throw ConfigError("--sweep and --weight are both given", "a sweep gives all weights itself");
  }
  if (!is_sweep && !arguments.render.empty()) {
    throw ConfigError("--render is given without --sweep", "images of one soup: soup sample --model");
  }
  if (arguments.render.empty() != arguments.prompts.empty()) {
    throw ConfigError(
        arguments.render.empty() ? "--prompt is given without --render" : "--render is given without --prompt",
        "a picture of a sweep takes both, as --render mixed.png --prompt \"devices printer\"");
  }
}

std::string make_sweep(const SweepArguments& arguments, const Recipe& recipe, const std::string& output,
                       const MergeWork& work) {
  if (!arguments.render.empty()) {
    require_renderable(arguments, recipe, output);
  }
  const Sweep sweep = run_sweep(recipe, arguments.steps, output, work);
  return fmt::format("{}: sweep of {} soups of {} ingredients, {}", output, sweep.points.size(), sweep.inputs.size(),
                     (fs::path(output) / sweep_name).string());
}

void become_render(const SweepArguments& arguments, const std::string& output, const MergeWork& work) {
  if (arguments.render.empty()) {
    return;
  }
  // With "=", so that a value may begin with a dash.
  std::vector<std::string> words{"soup", "sample", "--sweep=" + output, "--output=" + arguments.render,
                                 fmt::format("--threads={}", work.threads)};
  for (const std::string& prompt : arguments.prompts) {
    words.push_back("--prompt=" + prompt);
  }
  std::fflush(stdout);
  become_soup_torch(argument_pointers(words).data());
}

}  // namespace soup
