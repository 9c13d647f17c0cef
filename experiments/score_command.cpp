// A model's score from a command that the user names.
#include "experiments/score_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "core/child_process.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "launch/mpi_runtime.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

constexpr const char* score_form =
    "the last line must be a number, or JSON: {\"score\": 0.3, \"standard_error\": 0.01}, or {\"scores\": [one number "
    "an item]}";
constexpr std::size_t shown_bytes = 2000;  // of a failed command's output

struct Mean {
  double value = 0.0;
  double standard_error = 0.0;
};

// Needs two values or more.
Mean mean_of(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0.0;
  for (const double value : values) {
    sum += value;
  }
  const double mean = sum / count;
  double squares = 0.0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return {mean, std::sqrt(squares / (count - 1.0) / count)};
}

std::string_view last_line(std::string_view text) {
  constexpr const char* blanks = " \t\r\n";
  const std::size_t end = text.find_last_not_of(blanks);
  if (end == std::string_view::npos) {
    return {};
  }
  text = text.substr(0, end + 1);
  const std::size_t begin = text.find_last_of('\n');
  text = begin == std::string_view::npos ? text : text.substr(begin + 1);
  return text.substr(std::min(text.size(), text.find_first_not_of(blanks)));
}

double finite(double value, std::string_view what, const std::string& source) {
  if (!std::isfinite(value)) {
    throw DataError(source, fmt::format("{} is {}, but must be a finite number", what, value));
  }
  return value;
}

double number_in(const nlohmann::json& value, std::string_view what, const std::string& source) {
  if (!value.is_number()) {
    throw DataError(source, fmt::format("{} is {}, but must be a number", what, excerpt(value.dump())), score_form);
  }
  return finite(value.get<double>(), what, source);
}

Score score_of_items(std::vector<double> items, const std::string& source) {
  if (items.size() < 2) {
    throw DataError(source, fmt::format("\"scores\" has {} items, but an error needs two or more", items.size()),
                    score_form);
  }
  const Mean mean = mean_of(items);
  finite(mean.value, "the mean of \"scores\"", source);
  finite(mean.standard_error, "the standard error of \"scores\"", source);
  return {mean.value, mean.standard_error, std::move(items)};
}

Score score_of_object(const nlohmann::json& object, const std::string& source) {
  const auto items = object.find("scores");
  const auto value = object.find("score");
  const auto error = object.find("standard_error");
  if ((items == object.end()) == (value == object.end()) || (items != object.end() && error != object.end())) {
    throw DataError(source, "must have either \"score\", with or without \"standard_error\", or \"scores\" alone",
                    score_form);
  }
  if (items != object.end()) {
    if (!items->is_array()) {
      throw DataError(source, "\"scores\" is no array", score_form);
    }
    std::vector<double> values;
    for (const nlohmann::json& item : *items) {
      values.push_back(number_in(item, fmt::format("\"scores\"[{}]", values.size()), source));
    }
    return score_of_items(std::move(values), source);
  }
  Score score{number_in(*value, "\"score\"", source), std::nullopt, {}};
  if (error != object.end() && !error->is_null()) {
    score.standard_error = number_in(*error, "\"standard_error\"", source);
    if (*score.standard_error < 0.0) {
      throw DataError(source, fmt::format("\"standard_error\" is {}, but must be at least 0", *score.standard_error));
    }
  }
  return score;
}

// For a POSIX shell, whatever is in it.
std::string shell_quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    result += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return result + "'";
}

// The end of what a failed command printed, where its reason mostly is.
std::string printed(const ChildOutcome& outcome) {
  const std::string& text = outcome.errors.empty() ? outcome.output : outcome.errors;
  const std::string_view tail = std::string_view(text).substr(text.size() - std::min(text.size(), shown_bytes));
  return tail.empty() ? "it printed nothing" : "it printed:\n" + excerpt(tail, shown_bytes);
}

}  // namespace

Score parse_score(std::string_view output, const std::string& source) {
  const std::string_view line = last_line(output);
  double value = 0.0;
  const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (error == std::errc() && stop == line.data() + line.size()) {
    return {finite(value, "the score", source), std::nullopt, {}};
  }
  if (!line.starts_with('{')) {
    throw DataError(source, line.empty() ? "printed nothing" : fmt::format("printed \"{}\"", excerpt(line)),
                    score_form);
  }
  return score_of_object(parse_json(line, source), source);
}

nlohmann::json to_json(const Score& score) {
  if (!score.items.empty()) {
    return {{"scores", score.items}};
  }
  nlohmann::json value{{"score", score.value}};
  if (score.standard_error) {
    value["standard_error"] = *score.standard_error;
  }
  return value;
}

Score score_from_json(const nlohmann::json& value, const std::filesystem::path& path) {
  if (!value.is_object()) {
    throw DataError(path, "a score is no object");
  }
  return score_of_object(value, path.string());
}

void require_valid(const ScoreCommand& command) {
  if (command.text.find("{model}") == std::string::npos) {
    throw ConfigError(fmt::format("the command \"{}\" does not name {{model}}", excerpt(command.text)),
                      "{model} stands where the command wants the model's path: \"python3 score.py {model}\"");
  }
}

Score run_score_command(const ScoreCommand& command, const std::filesystem::path& model) {
  require_valid(command);
  std::string text = command.text;
  replace_all(text, "{rank}", std::to_string(command.rank));
  replace_all(text, "{local_rank}", std::to_string(command.local_rank));
  // The path last: nothing in it is replaced.
  replace_all(text, "{model}", shell_quoted(std::filesystem::absolute(model).string()));
  const ChildOutcome outcome =
      run_child({{"/bin/sh", "-c", text}, without_launcher(current_environment()), {}, command.timeout_seconds});
  if (outcome.timed_out) {
    throw DataError(text, fmt::format("ran longer than {} s; {}", command.timeout_seconds, printed(outcome)),
                    "--timeout gives it more time");
  }
  if (outcome.code != 0) {
    throw DataError(text, fmt::format("ended with code {}; {}", outcome.code, printed(outcome)),
                    "the command must end with 0 and print the score last; scores so far are kept");
  }
  return parse_score(outcome.output, text);
}

Improvement improvement(const Score& candidate, const Score& current, bool higher_is_better) {
  const double sign = higher_is_better ? 1.0 : -1.0;
  if (candidate.items.size() == current.items.size() && !candidate.items.empty()) {
    std::vector<double> differences;
    for (std::size_t i = 0; i < candidate.items.size(); ++i) {
      differences.push_back(sign * (candidate.items[i] - current.items[i]));
    }
    const Mean mean = mean_of(differences);
    return {mean.value, mean.standard_error};
  }
  Improvement result{sign * (candidate.value - current.value), std::nullopt};
  if (candidate.standard_error && current.standard_error) {
    result.standard_error = std::hypot(*candidate.standard_error, *current.standard_error);
  }
  return result;
}

}  // namespace soup
