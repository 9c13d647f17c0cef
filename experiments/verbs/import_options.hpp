// What all kinds of `soup import` share: options, the shard's name, the report.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>

#include "data/import.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

struct ImportTarget {
  ImportOptions options;
  std::string output;
  std::string latents;  // model folder to encode the shard with; empty: it is not encoded
  std::string latents_type = "f16";
  std::int64_t clip_skip = 1;
};

void add_import_options(CLI::App& app, ImportTarget& target);
// Imports into the target, whose shard is named after the file where no name was given, and prints what happened. With
// target.latents the images go to a file beside the output, and the process becomes `soup encode` of that.
int import_into(ImportTarget& target,
                const std::function<ImportReport(const ImportOptions&, const std::filesystem::path&, Log&)>& import);

// The kinds of source that hold captioned pictures.
Verb add_import_folder(CLI::App& parent);
Verb add_import_webdataset(CLI::App& parent);

}  // namespace soup
