// What all kinds of `soup import` share: options, the shard's name, the report.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "data/import.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

struct ImportTarget {
  ImportOptions options;
  std::string output;
};

void add_import_options(CLI::App& app, ImportTarget& target);
// Names the shard after the output's file where no name was given; from here on stop signals are waited for.
void begin_import(ImportTarget& target);
int print_report(const ImportReport& report, const std::string& output);

// The kinds of source that hold captioned pictures.
Verb add_import_folder(CLI::App& parent);
Verb add_import_webdataset(CLI::App& parent);

}  // namespace soup
