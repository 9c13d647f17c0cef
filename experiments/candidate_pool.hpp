// Soups made, scored by a command and thrown away, spread over the ranks of a job; scores are kept on disk, so that the
// same search goes on where it was stopped.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/file_descriptor.hpp"
#include "core/scratch_folder.hpp"
#include "experiments/greedy_search.hpp"
#include "experiments/recipe.hpp"
#include "experiments/score_command.hpp"
#include "launch/communicator.hpp"

namespace soup {

struct PoolSettings {
  Recipe recipe;                  // of a soup but for its weights
  std::filesystem::path folder;   // of the scores, seen by all ranks
  std::filesystem::path scratch;  // of the candidates; may be each host's own
  bool in_files = false;          // candidates are .safetensors files instead of folders
  int threads = 1;                // of each rank
  ScoreCommand command;           // its text is replaced by that of each call
};

class CandidatePool {
 public:
  // Digests the inputs, each by one rank, and reads the scores that are there. Collective; throws on every rank what
  // opening models does, and DataError when another search uses the folder.
  CandidatePool(Communicator& comm, PoolSettings settings);

  // Rank 0: scores of these soups by this command, in their order. What fails on any rank is thrown here, and by the
  // others' serve().
  std::vector<Score> score(const std::string& command, std::span<const InputWeights> soups);
  // Rank 0, at the end: the other ranks' serve() returns, if it has not thrown.
  void finish();
  // All other ranks: works for score() until finish().
  void serve();

  // What identifies the weights of every input in the recipe's order, the base last.
  [[nodiscard]] const std::vector<Digest>& inputs() const { return inputs_; }
  [[nodiscard]] std::size_t scored() const { return scored_; }  // by commands that were run
  [[nodiscard]] std::size_t reused() const { return reused_; }  // that were on disk

 private:
  [[nodiscard]] Digest key_of(const std::string& command, const InputWeights& weights) const;
  void digest_inputs();
  void read_scores();
  // One round of all ranks on `task` of rank 0, which says what is to be scored. Scores by their number in it.
  std::map<std::size_t, Score> work(const std::string& task);
  Score make_and_score(const std::string& command, const InputWeights& weights) const;

  Communicator& comm_;
  PoolSettings settings_;
  FileDescriptor lock_;                        // rank 0
  std::unique_ptr<ScratchFolder> candidates_;  // of this rank
  std::vector<Digest> inputs_;
  std::map<Digest, Score> known_;  // rank 0
  bool others_serve_ = true;
  std::size_t scored_ = 0;
  std::size_t reused_ = 0;
};

}  // namespace soup
