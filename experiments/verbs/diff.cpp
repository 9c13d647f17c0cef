// soup diff: how far models moved from their base, where, and whether they moved the same way.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "experiments/difference_picture.hpp"
#include "experiments/difference_text.hpp"
#include "experiments/verbs/verbs.hpp"
#include "merge/difference_record.hpp"

namespace soup {

namespace {

struct DiffArguments {
  std::vector<std::string> models;
  std::optional<std::string> base;
  std::string by = "block";
  std::optional<std::string> json;
  std::optional<std::string> picture;
  std::size_t top = 40;
  DifferenceOptions options;
};

DifferenceInput difference_input(const std::string& text) {
  NamedPath named = named_path(text);
  return {std::move(named.name), std::move(named.path)};
}

// Of standard output where it is a terminal.
std::size_t line_width(std::size_t otherwise) {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : otherwise;
}

// Before the work, not after it: a mistyped folder would cost a run over all weights.
void require_writable(const std::optional<std::string>& output) {
  if (!output) {
    return;
  }
  const std::filesystem::path path(*output);
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(folder) || ::access(folder.c_str(), W_OK) != 0) {
    throw DataError(path, fmt::format("cannot be written: {} is no folder that can be written to", folder.string()));
  }
  if (std::filesystem::is_directory(path)) {
    throw DataError(path, "is a folder, where a file would be written");
  }
}

int run_diff(const DiffArguments& arguments) {
  require_writable(arguments.json);
  require_writable(arguments.picture);
  std::vector<DifferenceInput> models;
  for (const std::string& text : arguments.models) {
    models.push_back(difference_input(text));
  }
  std::optional<DifferenceInput> base;
  if (arguments.base) {
    base = difference_input(*arguments.base);
  }
  install_stop_signals();
  Log log;
  std::optional<Progress> progress;
  DifferenceOptions options = arguments.options;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (!progress) {
      progress.emplace(log, "diff", total, "bytes");
    }
    progress->advance_to(done);
  };
  const Difference difference = measure_difference(base, models, options);
  progress.reset();
  const Outliers outliers = find_outliers(difference);
  const bool tensors = arguments.by == "tensor";
  if (arguments.json) {
    write_file_atomically(*arguments.json, difference_json(difference, outliers, tensors).dump(1) + "\n");
  }
  if (arguments.picture) {
    write_difference_picture(*arguments.picture, difference, outliers, {tensors, arguments.top});
  }
  constexpr std::size_t width_of_files = 120;
  fmt::print("{}", difference_text(difference, outliers, {tensors, arguments.top, line_width(width_of_files)}));
  return static_cast<int>(ExitCode::success);
}

}  // namespace

Verb add_diff(CLI::App& program) {
  auto arguments = std::make_shared<DiffArguments>();
  CLI::App* app = program.add_subcommand("diff", "Show how far models moved from their base, where, and which way");
  app->description(
      "Compares models with the base they were trained from: for each block of the network the relative drift\n"
      "|w - base| / |base| of every model, the cosines between the models' deltas w - base (1: they moved the same "
      "way;\n"
      "0: unrelated, averaging shortens them; below: they undo each other), and models that stand out: moved much "
      "more\n"
      "or less than the others, against another, not at all, or hold NaN. Without --base two models are compared with\n"
      "each other, more with their mean. A model is anything that soup merge takes, of any floating type; all need "
      "the\n"
      "same tensors. A diagnosis: outliers do not change the exit code. Memory stays below 1 MiB a model and thread.");
  app->add_option("models", arguments->models, "Models: PATH or NAME=PATH")->required();
  app->add_option("--base", arguments->base, "What the models were trained from: PATH or NAME=PATH");
  app->add_option(
         "--part", arguments->options.parts,
         "Part to compare, as unet (any number of times); all parts when left out. With one part, a model may\n"
         "also be that part's weights file")
      ->allow_extra_args(false);
  app->add_option("--by", arguments->by, "Rows: blocks of the network (down_blocks.0, layers.7) or single tensors")
      ->check(CLI::IsMember({"block", "tensor"}))
      ->capture_default_str();
  app->add_option("--top", arguments->top,
                  "Rows of a part (those that moved most) and outliers of a kind to show; 0: all")
      ->capture_default_str();
  app->add_option("--json", arguments->json,
                  "Also write all numbers as JSON (merge/README.md says which; tensors with --by tensor)")
      ->type_name("FILE");
  app->add_option("--picture", arguments->picture, "Also draw drift and cosines as a PNG picture, with gnuplot")
      ->type_name("FILE.png")
      ->check([](const std::string& path) { return path.ends_with(".png") ? "" : "the picture's name ends in .png"; });
  app->add_option("--variant", arguments->options.variant,
                  "Variant of the models' weights, as fp16 for x.fp16.safetensors");
  app->add_option("--threads", arguments->options.threads, "Threads; all processors when left out")
      ->check(CLI::Range(1, 128));
  app->footer(
      help_footer("  soup diff runs/x/ingredients/* --base runs/x/base\n"
                  "  soup diff tuned=a.safetensors b.safetensors --base c.safetensors --by tensor --top 20\n"
                  "  soup diff runs/x/ingredients/* --base runs/x/base --part unet --picture drift.png"));
  return {app, [arguments] { return run_diff(*arguments); }};
}

}  // namespace soup
