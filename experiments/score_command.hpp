// A model's score from a command that the user names: how it is run, what it must print, and how scores compare.
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

struct Score {
  double value = 0.0;
  std::optional<double> standard_error;  // of `value`
  // Scores of single held-out items, whose mean is `value`, where the command gives them. Those of two models are
  // compared pairwise, so they must be of the same items in the same order.
  std::vector<double> items;
};

// The last line that is not empty: a number; or a JSON object with "score" and optionally "standard_error", or with
// "scores", one number an item (two or more), of which the mean and its standard error, s / sqrt(n), are taken. Other
// keys are for people. Throws DataError, naming `source`: none of these, numbers that are not finite, an error below 0.
Score parse_score(std::string_view output, const std::string& source);

nlohmann::json to_json(const Score& score);
// Throws DataError, naming `path`, for what to_json does not give.
Score score_from_json(const nlohmann::json& value, const std::filesystem::path& path);

struct ScoreCommand {
  // For sh -c; {model} is where the model is, quoted, {rank} and {local_rank} are this process's numbers in the job and
  // on its host.
  std::string text;
  double timeout_seconds = std::numeric_limits<double>::infinity();
  int rank = 0;
  int local_rank = 0;
};

// Throws ConfigError when the text has no {model}.
void require_valid(const ScoreCommand& command);
// Runs it in an environment without the launcher's variables. Throws DataError with what it printed when it fails, runs
// too long or prints no score; Interrupted on a signal.
Score run_score_command(const ScoreCommand& command, const std::filesystem::path& model);

// By how much a score is better than another, and the standard error of that.
struct Improvement {
  double value = 0.0;
  std::optional<double> standard_error;  // absent where a score has none
};

// Pairwise where both have as many items: the mean of the differences and s / sqrt(n) of them; else the difference of
// the values and the root of the sum of their squared errors. Positive is better.
Improvement improvement(const Score& candidate, const Score& current, bool higher_is_better);

}  // namespace soup
