// The verbs of the light executable: each adds its subcommand and what to do when it is chosen.
#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "launch/mpi_runtime.hpp"

namespace soup {

struct Verb {
  CLI::App* app = nullptr;
  std::function<int()> run;  // returns the exit code; throws soup's errors
};

Verb add_plan(CLI::App& program);
std::vector<Verb> add_import(CLI::App& program);
Verb add_diff(CLI::App& program);
Verb add_merge(CLI::App& program);
Verb add_add(CLI::App& program);
Verb add_remove(CLI::App& program);
Verb add_report(CLI::App& program);
// `mpi` is only there when this verb is what the program was started for.
Verb add_search(CLI::App& program, const MpiRuntime* mpi);
Verb add_status(CLI::App& program);
Verb add_submit(CLI::App& program);
Verb add_verify(CLI::App& program);

// "name=path", or a path whose last component without extension becomes the name.
struct NamedPath {
  std::string name;
  std::filesystem::path path;
};
NamedPath named_path(const std::string& text);

// Parses the command line and runs the chosen verb; returns its exit code, 2 for a command line that is wrong.
int run_verbs(CLI::App& program, const std::vector<Verb>& verbs, int argc, char** argv);

// The end of every --help: "Example" lines, then the exit codes.
std::string help_footer(const std::string& examples);

}  // namespace soup
