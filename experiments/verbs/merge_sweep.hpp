// The part of soup merge that makes a sweep and has it rendered.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "experiments/recipe.hpp"
#include "merge/merge_files.hpp"

namespace soup {

struct SweepArguments {
  int steps = 0;  // 0: no sweep
  std::string render;
  std::vector<std::string> prompts;
};

void add_sweep(CLI::App& app, SweepArguments& arguments);

// Throws ConfigError for flags that need others or exclude each other; `has_weights`: --weight was given.
void require_sweep_flags(const SweepArguments& arguments, bool has_weights);

// Makes the sweep; gives a line for the user. With --render all that rendering needs is looked at first.
std::string make_sweep(const SweepArguments& arguments, const Recipe& recipe, const std::string& output,
                       const MergeWork& work);

// Replaces this process by `soup sample` of the sweep, where --render asks for it.
void become_render(const SweepArguments& arguments, const std::string& output, const MergeWork& work);

}  // namespace soup
