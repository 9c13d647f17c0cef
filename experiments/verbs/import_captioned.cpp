// soup import folder, soup import webdataset: captioned pictures as people have them.
#include <CLI/CLI.hpp>
#include <memory>

#include "experiments/verbs/enum_choice.hpp"
#include "experiments/verbs/import_options.hpp"

namespace soup {

namespace {

struct FolderArguments {
  ImportTarget target;
  FolderSource source;
};

struct TarsArguments {
  ImportTarget target;
  TarsSource source;
};

void add_captioned_options(CLI::App& app, CaptionedOptions& options) {
  app.add_option("--style", options.style, "Style word of all captions");
  app.add_option("--licence", options.licence, "Licence, kept in the shard file");
  app.add_option("--missing-caption", options.missing_caption, "What to do with a picture that has no caption")
      ->transform(one_of<MissingCaption>(
          {{"refuse", MissingCaption::refuse}, {"skip", MissingCaption::skip}, {"empty", MissingCaption::empty}}))
      ->default_str("refuse");
  app.add_option("--on-broken", options.on_broken, "What to do with an item that cannot be imported")
      ->transform(one_of<OnBroken>({{"skip", OnBroken::skip}, {"refuse", OnBroken::refuse}}))
      ->default_str("skip");
  app.add_option("--fit", options.fit, "Cover the size and cut the rest, or fit into it on white")
      ->transform(one_of<Fit>({{"crop", Fit::crop}, {"pad", Fit::pad}}))
      ->default_str("crop");
  app.add_option("--min-side", options.min_side, "Skip pictures whose smaller side is less, in pixels; 0: none")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  app.add_option("--max-pixels", options.max_pixels, "Refuse pictures of more pixels, by their header")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--buckets", options.buckets, "Sizes of several aspect ratios, of an area up to resolution^2");
  app.add_option("--bucket-step", options.bucket_step, "Sides of buckets are multiples of it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--bucket-least-side", options.bucket_least_side, "Smallest side of a bucket")->capture_default_str();
  app.add_option("--bucket-most-side", options.bucket_most_side, "Largest side of a bucket")->capture_default_str();
  app.add_option("--limit", options.limit, "At most so many images, the first ones; 0: all")->capture_default_str();
}

}  // namespace

Verb add_import_folder(CLI::App& parent) {
  auto arguments = std::make_shared<FolderArguments>();
  CLI::App* app = parent.add_subcommand("folder", "A folder of pictures with captions");
  app->description(
      "Imports the PNG, JPEG, WebP and SVG files below a folder. Captions come from metadata.jsonl or metadata.csv\n"
      "(file_name and a caption, as Hugging Face's imagefolder has them), or from a .txt or .caption beside the "
      "picture.\n"
      "Stopped or killed, the same command goes on where it was. What is skipped is listed in OUTPUT.notes.jsonl.");
  ImageFolderSource& folder = arguments->source.folder;
  app->add_option("path", folder.path, "The folder")->required();
  app->add_option("--caption-key", folder.caption_key, "Which value of a metadata row is the caption")
      ->capture_default_str();
  app->add_option("--held-out-key", folder.held_out_key,
                  "Which value of a metadata row decides what is held out together; the caption when left out");
  add_import_options(*app, arguments->target);
  add_captioned_options(*app, arguments->source.options);
  app->footer(
      help_footer("  soup import folder photos --resolution 512 --output photos.h5\n"
                  "  soup import folder photos --resolution 512 --buckets --missing-caption skip --output photos.h5"));
  return {app, [arguments] {
            return import_into(arguments->target, [arguments](const auto& options, const auto& output, Log& log) {
              return import_folder(arguments->source, options, output, log);
            });
          }};
}

Verb add_import_webdataset(CLI::App& parent) {
  auto arguments = std::make_shared<TarsArguments>();
  CLI::App* app = parent.add_subcommand("webdataset", "WebDataset tars, as img2dataset writes them");
  app->description(
      "Imports tars (plain or .gz) of members key.jpg, key.txt and key.json, those of one key side by side. The "
      "caption is\n"
      "the .txt's, else the .json's. Names may hold {00000..00009}, {a,b}, * and ?; quote them.\n"
      "Stopped or killed, the same command goes on where it was. What is skipped is listed in OUTPUT.notes.jsonl.");
  WebDatasetSource& tars = arguments->source.tars;
  app->add_option("tars", tars.tars, "The tars")->required();
  app->add_option("--caption-key", tars.caption_key, "Which value of key.json is the caption, without key.txt")
      ->capture_default_str();
  app->add_option("--held-out-key", tars.held_out_key,
                  "Which value of key.json decides what is held out together; the caption when left out");
  add_import_options(*app, arguments->target);
  add_captioned_options(*app, arguments->source.options);
  app->footer(help_footer(
      "  soup import webdataset 'laion/{00000..00009}.tar' --resolution 512 --output laion.h5\n"
      "  soup import webdataset 'laion/*.tar' --resolution 512 --buckets --min-side 256 --output laion.h5\n"
      "  soup import webdataset 'laion/*.tar' --resolution 512 --latents stable-diffusion-2-base --output laion.h5"));
  return {app, [arguments] {
            return import_into(arguments->target, [arguments](const auto& options, const auto& output, Log& log) {
              return import_webdataset(arguments->source, options, output, log);
            });
          }};
}

}  // namespace soup
