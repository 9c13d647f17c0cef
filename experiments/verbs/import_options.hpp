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
// The output's file name where no name was given.
void name_shard(ImportTarget& target);
int print_report(const ImportReport& report, const std::string& output);

// The kinds of source that hold captioned pictures.
Verb add_import_folder(CLI::App& parent);
Verb add_import_webdataset(CLI::App& parent);

}  // namespace soup
