// Evaluates models on the same prompts, the same noise and the same real images, and writes one record per model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/log.hpp"
#include "core/random.hpp"
#include "data/shard_file.hpp"
#include "data/split.hpp"
#include "experiments/evaluation_record.hpp"
#include "experiments/experiment.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer.hpp"
#include "trainer/model.hpp"

namespace soup {

// One model to evaluate; more than one folder: the output ensemble, the mean of their denoisers' predictions.
struct EvaluatedModel {
  std::string name;  // "soup", "ingredient/oxygen", "ensemble"
  std::vector<std::filesystem::path> folders;
  WeightSet weights = WeightSet::raw;
};

class Evaluation {
 public:
  // Draws prompts and real images from the held-out part of `shards` (which must outlive this object) and loads the
  // scorer, when the configuration names one. `folder` receives the files; `key` is the digest of everything outside
  // the model that decides the scores (the stage's key), kept in every record. Models compute on `device`, the scorer
  // on the CPU.
  Evaluation(const EvaluationConfig& config, std::span<const ShardFile> shards, const HeldOut& held_out, SeedTree seeds,
             std::filesystem::path folder, std::string key, at::Device device = at::kCPU);

  // The prompts' own real images, scored like generated ones: the ceiling. Record "real".
  void evaluate_real(Log& log) const;
  // Generates one image per prompt, scores them, takes the denoising loss on real images, and writes
  // <name>.<raw|ema>.jsonl, .png (the grid prompts' images in a row) and, with a scorer, .safetensors (features). The
  // record comes last; one that already has this key is left as it is. An ensemble has no denoising loss. A model
  // without EMA weights (a base) is evaluated once: its EMA record is the raw one.
  void evaluate(const EvaluatedModel& model, Log& log) const;

  [[nodiscard]] const std::vector<Prompt>& prompts() const { return prompts_; }
  [[nodiscard]] bool is_complete(const std::string& model, const std::string& weights) const;

 private:
  void score(const std::vector<Image>& images, ModelRecord& record) const;
  void write(const std::vector<Image>& images, ModelRecord& record) const;
  void adopt_raw_record(const std::string& model) const;
  [[nodiscard]] std::vector<DenoisingRecord> denoising(const DiffusionModel& model) const;

  EvaluationConfig config_;
  std::span<const ShardFile> shards_;
  SeedTree seeds_;
  std::filesystem::path folder_;
  std::string key_;
  at::Device device_;
  std::vector<Prompt> prompts_;
  std::vector<ImagePlace> denoising_images_;
  std::optional<Scorer> scorer_;
  at::Tensor prompt_embeddings_;  // [prompts, E]
  std::shared_ptr<const Features> reference_;
};

// Names of record files beside the .jsonl.
[[nodiscard]] std::filesystem::path features_path(const std::filesystem::path& folder, const std::string& stem);
void write_features(const std::filesystem::path& path, const Features& features);
// Throws DataError when the file holds no float matrix "features".
Features read_features(const std::filesystem::path& path);

}  // namespace soup
