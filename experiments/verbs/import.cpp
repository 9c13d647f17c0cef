// soup import: one source of captioned images into one shard file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/child_process.hpp"
#include "core/error.hpp"
#include "core/signals.hpp"
#include "data/shard_file.hpp"
#include "experiments/experiment_keys.hpp"
#include "experiments/model_size.hpp"
#include "experiments/verbs/become_torch.hpp"
#include "experiments/verbs/import_options.hpp"

namespace soup {

namespace {

struct ImportArguments {
  std::string theme;
  IconThemeSource icons;
  IdxSource idx;
  ImportTarget target;
};

}  // namespace

void add_import_options(CLI::App& app, ImportTarget& target) {
  ImportOptions& options = target.options;
  options.workers = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  app.add_option("--output", target.output, "Shard file to write (HDF5); appears only when complete")->required();
  app.add_option("--shard", options.shard, "Name of the shard; the output's file name when left out");
  app.add_option("--resolution", options.resolution, "Side of the images in pixels")
      ->check(CLI::Range(4, 1024))
      ->capture_default_str();
  app.add_option("--workers", options.workers, "Decoding processes")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--max-broken-fraction", options.max_broken_fraction, "Fail above this part of unreadable images")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  CLI::Option* latents =
      app.add_option("--latents", target.latents,
                     "Model folder whose autoencoder and text encoder then encode the shard (soup encode)")
          ->check(CLI::ExistingDirectory);
  app.add_option("--latents-type", target.latents_type, "How their numbers are kept")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->needs(latents)
      ->capture_default_str();
  app.add_option("--clip-skip", target.clip_skip, "Layer of the text encoder, from the end")
      ->check(CLI::Range(1, 64))
      ->needs(latents)
      ->capture_default_str();
}

namespace {

int print_report(const ImportReport& report, const std::string& output) {
  const ShardFile shard{std::filesystem::path(output)};
  if (shard.one_size()) {
    fmt::print("{}: {} images of {} x {}, root {}\n", output, shard.size(), shard.height(), shard.width(),
               shard.root().hex());
  } else {
    fmt::print("{}: {} images of {} sizes, root {}\n", output, shard.size(), shard.buckets().size(),
               shard.root().hex());
    for (const Bucket& bucket : shard.buckets()) {
      fmt::print("  {} x {}: {} images\n", bucket.height, bucket.width, bucket.count);
    }
  }
  fmt::print("of {} files: {}\n", report.files, summary_of(report));
  for (const std::string& line : report.broken) {
    fmt::print("unreadable: {}\n", line);
  }
  if (report.unreadable > report.broken.size()) {
    fmt::print("and {} more\n", report.unreadable - report.broken.size());
  }
  if (!report.notes.empty()) {
    fmt::print("all that was left out, or has another extension than its content: {}\n", report.notes.string());
  }
  return 0;
}

}  // namespace

int import_into(ImportTarget& target,
                const std::function<ImportReport(const ImportOptions&, const std::filesystem::path&, Log&)>& import) {
  install_stop_signals();
  if (target.options.shard.empty()) {
    target.options.shard = std::filesystem::path(target.output).stem().string();
  }
  Log log;
  if (target.latents.empty()) {
    return print_report(import(target.options, target.output, log), target.output);
  }
  require_soup_torch();  // before hours of work
  if (const std::int64_t factor = model_size(target.latents).factor; target.options.resolution % factor != 0) {
    throw ConfigError(fmt::format("--resolution {}, but the autoencoder of {} needs multiples of {}",
                                  target.options.resolution, target.latents, factor));
  }
  require_place_for(target.output);
  const std::string images = target.output + ".images";
  target.options.notes = target.output + ".notes.jsonl";
  if (std::filesystem::exists(images)) {
    log.info(fmt::format("{} is there already and is encoded now; remove it to import anew", images));
  } else {
    print_report(import(target.options, images, log), images);
  }
  std::fflush(nullptr);
  std::vector<std::string> words = {"soup",
                                    "encode",
                                    images,
                                    "--model",
                                    target.latents,
                                    "--output",
                                    target.output,
                                    "--type",
                                    target.latents_type,
                                    "--clip-skip",
                                    std::to_string(target.clip_skip),
                                    "--remove-input"};
  const std::vector<char*> arguments = argument_pointers(words);
  become_soup_torch(arguments.data());
}

namespace {

Verb add_icon_theme(CLI::App& parent) {
  auto arguments = std::make_shared<ImportArguments>();
  CLI::App* app = parent.add_subcommand("icon-theme", "A freedesktop icon theme (PNG, SVG)");
  app->description(
      "Imports a freedesktop icon theme: symbolic links are resolved, exact duplicates and near-blank images dropped,\n"
      "transparency put on white. An icon's caption is its context and the words of its name.");
  IconThemeSource& icons = arguments->icons;
  app->add_option("--package", icons.package, "Debian package the theme comes from")->required();
  app->add_option("--theme", arguments->theme, "Folder name of the theme, as oxygen")->required();
  app->add_option("--root", icons.root,
                  "Folder that holds index.theme; when left out .deps/icons/<package>/usr/share/icons/<theme> or "
                  "/usr/share/icons/<theme>");
  app->add_option("--style", icons.style, "Style word of the captions; the theme's name when left out");
  app->add_option("--context", icons.contexts, "Only these contexts: --context apps devices");
  app->add_option("--limit", icons.limit, "At most so many images, chosen by digest; 0: all")->capture_default_str();
  app->add_option("--per-key-limit", icons.per_key_limit, "At most so many images of one name; 0: all")
      ->capture_default_str();
  add_import_options(*app, arguments->target);
  app->footer(help_footer("  soup import icon-theme --package oxygen-icon-theme --theme oxygen --output oxygen.h5"));
  return {app, [arguments] {
            IconThemeSource& source = arguments->icons;
            if (source.root.empty()) {
              source.root = default_theme_root(source.package, arguments->theme);
            }
            return import_into(arguments->target, [&source](const auto& options, const auto& output, Log& log) {
              return import_icon_theme(source, options, output, log);
            });
          }};
}

Verb add_idx(CLI::App& parent) {
  auto arguments = std::make_shared<ImportArguments>();
  CLI::App* app = parent.add_subcommand("idx", "IDX files, as Fashion-MNIST's");
  app->description(
      "Imports a pair of IDX files (gzip or plain): images, and one label each. A caption is its class's.");
  IdxSource& idx = arguments->idx;
  app->add_option("--images", idx.images, "IDX file of the images")->required();
  app->add_option("--labels", idx.labels, "IDX file of the labels")->required();
  app->add_option("--class-name", idx.class_names, "One caption per class, in the order of the labels")->required();
  app->add_option("--class", idx.classes, "Only these labels: --class 0 3")->check(CLI::Range(0, 255));
  app->add_option("--package", idx.package, "Debian package the files come from");
  app->add_option("--style", idx.style, "Style word of the captions");
  app->add_option("--licence", idx.licence, "Licence, kept in the shard file");
  app->add_option("--limit", idx.limit, "At most so many images; 0: all")->capture_default_str();
  add_import_options(*app, arguments->target);
  app->footer(
      help_footer("  soup import idx --images train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz \\\n"
                  "    --class-name shirt trouser pullover dress coat sandal blouse sneaker bag boot \\\n"
                  "    --resolution 28 --output clothes.h5"));
  return {app, [arguments] {
            return import_into(arguments->target, [arguments](const auto& options, const auto& output, Log& log) {
              return import_idx(arguments->idx, options, output, log);
            });
          }};
}

}  // namespace

std::vector<Verb> add_import(CLI::App& program) {
  CLI::App* app = program.add_subcommand("import", "Make a shard file from a source of captioned images");
  app->description(
      "Makes one shard file (HDF5: images, captions, digests, origin) from one source. An experiment names it as\n"
      "`file: path` in data.shards; sources named there directly are imported by `soup run` itself.");
  app->require_subcommand(1);
  app->footer(
      help_footer("  soup import folder --help\n  soup import webdataset --help\n  soup import icon-theme --help\n"
                  "  soup import idx --help"));
  return {add_import_folder(*app), add_import_webdataset(*app), add_icon_theme(*app), add_idx(*app)};
}

}  // namespace soup
