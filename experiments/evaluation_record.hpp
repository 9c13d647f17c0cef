// What the evaluation of one model leaves on disk (JSON lines): scores of every image, then one summary. Torch-free, so
// that comparison and report read what the evaluation wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/metrics.hpp"

namespace soup {

// One kind of score, for tables: how it is called and which way is better.
struct ScoreKind {
  std::string_view name;           // key in the files
  std::string_view title;          // column head
  std::string_view sentence_name;  // inside a sentence
  std::string_view explanation;    // one sentence for the report
  bool higher_is_better;
  int decimals;
};
[[nodiscard]] std::span<const ScoreKind> score_kinds();
// nullptr when unknown.
[[nodiscard]] const ScoreKind* find_score_kind(std::string_view name);

// One generated image (or real one, in the record "real"); scores are NaN where no scorer was given or the score does
// not apply (style_correct of a prompt without style words).
struct ImageRecord {
  std::uint64_t index = 0;  // prompt number, the same in every model's record
  std::string prompt;
  std::string caption;
  std::string style;
  std::string context;
  bool with_style = false;
  std::string predicted_context;
  std::string predicted_style;
  std::map<std::string, double> scores;  // by ScoreKind name, without the distances between sets
};

// The denoising loss of one held-out real image.
struct DenoisingRecord {
  std::string shard;
  std::uint64_t image = 0;  // in the shard
  double loss = 0.0;
};

struct ModelRecord {
  std::string model;    // stage name: "soup", "ingredient/oxygen", "paragon/equal-total"; "ensemble"; "real"
  std::string weights;  // "raw", "ema"; empty for "real"
  std::string key;      // digest of everything that decided these scores
  std::vector<ImageRecord> images;
  std::vector<DenoisingRecord> denoising;
  std::map<std::string, Estimate> scores;              // by ScoreKind name
  std::map<std::string, Estimate> denoising_by_shard;  // by shard name
  double seconds = 0.0;
};

// "paragon/equal-total", "ema" -> "paragon-equal-total.ema"; the name of a record's files without their extension.
[[nodiscard]] std::string record_stem(std::string_view model, std::string_view weights);

// Values of one score over a record's samples, in order, NaN included; of "denoising_loss" over its real images.
// Empty for distances between sets.
[[nodiscard]] std::vector<double> sample_values(const ModelRecord& record, std::string_view score);

// Fills record.scores and denoising_by_shard with means and bootstrap errors of all that are means over samples.
void summarise(ModelRecord& record, std::int64_t resamples, RandomStream stream);

void write_record(const std::filesystem::path& folder, const ModelRecord& record);
// Throws DataError: unreadable, not JSON lines, no summary at the end.
ModelRecord read_record(const std::filesystem::path& path);

// first - second.
struct Comparison {
  std::string first;
  std::string second;
  std::string weights;                          // "raw" or "ema", of both
  std::map<std::string, Estimate> differences;  // by ScoreKind name
};

// folder/comparison.json: {"comparisons": [{"first", "second", "weights", "differences": {score: {"value",
// "standard_error", "count"}}}]}.
void write_comparisons(const std::filesystem::path& folder, const std::vector<Comparison>& comparisons);
std::vector<Comparison> read_comparisons(const std::filesystem::path& path);

}  // namespace soup
