// `soup search`: which inputs, or which weights, make the best soup by a command's held-out score.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/log.hpp"
#include "experiments/greedy_search.hpp"
#include "experiments/learned_search.hpp"
#include "experiments/recipe.hpp"
#include "experiments/score_command.hpp"
#include "launch/communicator.hpp"
#include "merge/merge_files.hpp"

namespace soup {

enum class Strategy { greedy, cma_es };

struct SearchRequest {
  Recipe recipe;  // inputs, all of weight 1, and how they are merged
  Strategy strategy = Strategy::greedy;
  ScoreCommand command;
  // Scores the equal weights and the result once more, on items that the search has not seen; empty: none.
  std::string confirm_command;
  Judgement judgement;
  LearnedSettings learned;
  std::filesystem::path output;   // as of `soup merge`
  std::filesystem::path scratch;  // of candidates; empty: the search's own folder
  MergeWork work;
};

// "best" -> "best.search", "best.safetensors" -> "best.search": where scores, search.json and recipe.yaml are kept.
std::filesystem::path search_folder(const std::filesystem::path& output);

// Searches, writes the best soup, and search.json (merge/README.md) and recipe.yaml into the search's folder; a soup
// that is a folder has search.json too. Learned weights that are not better than equal ones are not taken. The result
// depends neither on the number of ranks nor on interruptions. Collective. Throws ConfigError before any work: a name
// twice, weights or rules, a method without weights, an output that exists; else what merging and scoring throw.
void run_search(Communicator& comm, const SearchRequest& asked, Log& log);

}  // namespace soup
