// Scores that commands print, and how they compare.
#include "experiments/score_command.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const std::string& output) {
  try {
    static_cast<void>(parse_score(output, "the command"));
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(ParseScore, TakesANumberFromTheLastLine) {
  for (const char* text : {"0.25", "0.25\n", "loading...\n  0.25 \r\n\n \n", "2.5e-1\n"}) {
    const Score score = parse_score(text, "x");
    EXPECT_EQ(score.value, 0.25) << text;
    EXPECT_FALSE(score.standard_error) << text;
    EXPECT_TRUE(score.items.empty()) << text;
  }
  EXPECT_EQ(parse_score("-3", "x").value, -3.0);
}

TEST(ParseScore, TakesAnErrorAndItems) {
  const Score with_error = parse_score(R"({"score": 1.5, "standard_error": 0.25, "prompts": 12})", "x");
  EXPECT_EQ(with_error.value, 1.5);
  EXPECT_EQ(with_error.standard_error, 0.25);
  EXPECT_FALSE(parse_score(R"({"score": 1.5})", "x").standard_error);
  // Mean 3; sum of squares 4 + 1 + 0 + 1 + 4 = 10; s^2 = 10 / 4; s^2 / n = 0.5.
  const Score items = parse_score("text\n{\"scores\": [1, 2, 3, 4, 5]}\n", "x");
  EXPECT_EQ(items.value, 3.0);
  EXPECT_EQ(items.standard_error, std::sqrt(0.5));
  EXPECT_THAT(items.items, ElementsAre(1, 2, 3, 4, 5));
}

TEST(ParseScore, RefusesWhatIsNoScore) {
  EXPECT_THAT(refusal(""), HasSubstr("the command: printed nothing"));
  EXPECT_THAT(refusal(" \n\n"), HasSubstr("printed nothing"));
  EXPECT_THAT(refusal("0.25\ndone"), AllOf(HasSubstr("printed \"done\""), HasSubstr("hint: the last line must be")));
  EXPECT_THAT(refusal("0.25 0.1"), HasSubstr("printed \"0.25 0.1\""));
  EXPECT_THAT(refusal("nan"), HasSubstr("the score is nan"));
  EXPECT_THAT(refusal("inf"), HasSubstr("the score is inf"));
  EXPECT_THAT(refusal("{}"), HasSubstr("either \"score\""));
  EXPECT_THAT(refusal(R"({"score": 1, "scores": [1, 2]})"), HasSubstr("either \"score\""));
  EXPECT_THAT(refusal(R"({"scores": [1, 2], "standard_error": 1})"), HasSubstr("either \"score\""));
  EXPECT_THAT(refusal(R"({"score": "1"})"), HasSubstr("\"score\" is \"1\", but must be a number"));
  EXPECT_THAT(refusal(R"({"score": 1, "standard_error": -1})"), HasSubstr("\"standard_error\" is -1"));
  EXPECT_THAT(refusal(R"({"scores": [1]})"), HasSubstr("has 1 items"));
  EXPECT_THAT(refusal(R"({"scores": 1})"), HasSubstr("no array"));
  EXPECT_THAT(refusal(R"({"scores": [1, null]})"), HasSubstr("\"scores\"[1] is null"));
  EXPECT_THAT(refusal(R"({"scores": [1e308, 1e308]})"), HasSubstr("the mean of \"scores\" is inf"));
  EXPECT_THAT(refusal(R"({"score": 1, "score": 2})"), HasSubstr("score"));
  EXPECT_THAT(refusal("{\"score\": 1"), HasSubstr("the command"));
}

TEST(ParseScore, IsKeptAsJson) {
  for (const char* text : {"0.1", R"({"score": 0.1, "standard_error": 0.3})", R"({"scores": [0.1, 0.2, 0.7]})"}) {
    const Score score = parse_score(text, "x");
    const Score again = score_from_json(to_json(score), "file");
    EXPECT_EQ(again.value, score.value) << text;
    EXPECT_EQ(again.standard_error, score.standard_error) << text;
    EXPECT_EQ(again.items, score.items) << text;
  }
}

TEST(ImprovementTest, IsPairwiseOverItems) {
  const Score first = parse_score(R"({"scores": [1, 10, 100, 1000]})", "x");
  const Score second = parse_score(R"({"scores": [2, 12, 101, 1002]})", "x");  // 1, 2, 1, 2 more: mean 1.5
  const Improvement gain = improvement(second, first, true);
  EXPECT_DOUBLE_EQ(gain.value, 1.5);
  EXPECT_DOUBLE_EQ(gain.standard_error.value(), std::sqrt(4 * 0.25 / 3.0 / 4.0));
  EXPECT_DOUBLE_EQ(improvement(second, first, false).value, -1.5);
}

TEST(ImprovementTest, AddsErrorsWithoutItems) {
  const Improvement gain = improvement({5.0, 3.0, {}}, {1.0, 4.0, {}}, true);
  EXPECT_EQ(gain.value, 4.0);
  EXPECT_EQ(gain.standard_error, 5.0);
  EXPECT_FALSE(improvement({5.0, 3.0, {}}, {1.0, std::nullopt, {}}, true).standard_error);
}

class ScoreCommandTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  std::string failure(const ScoreCommand& command) {
    try {
      static_cast<void>(run_score_command(command, folder_ / "model"));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(ScoreCommandTest, PutsInTheModelAndTheRanks) {
  const std::filesystem::path model = folder_ / "a model's folder {rank}";
  write_file_atomically(model, "17\n");
  EXPECT_EQ(run_score_command({"cat {model}"}, model).value, 17.0);
  EXPECT_EQ(run_score_command({"test -e {model} && echo {rank}{local_rank}", 9.0, 3, 1}, model).value, 31.0);
}

TEST_F(ScoreCommandTest, StartsAProgramThatIsNoRankOfThisJob) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}) {
    setenv(name, "4", 1);
  }
  EXPECT_EQ(
      run_score_command({": {model}; env | grep -c -E '^(OMPI_COMM|PMI|SLURM_STEP|SLURM_PROCID)' || true"}, "m").value,
      0.0);
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}) {
    unsetenv(name);
  }
}

TEST_F(ScoreCommandTest, SaysWhatWentWrong) {
  EXPECT_THAT(failure({"echo 1"}), HasSubstr("the command \"echo 1\" does not name {model}"));
  EXPECT_THAT(failure({": {model}; echo 1; echo no such data >&2; exit 4"}),
              AllOf(HasSubstr("ended with code 4; it printed:\nno such data"), HasSubstr("hint:")));
  EXPECT_THAT(failure({": {model}; exit 1"}), HasSubstr("ended with code 1; it printed nothing"));
  EXPECT_THAT(failure({": {model}; sleep 30", 0.2}), AllOf(HasSubstr("ran longer than 0.2 s"), HasSubstr("--timeout")));
  EXPECT_THAT(failure({": {model}; echo fine"}), HasSubstr("printed \"fine\""));
}

}  // namespace
}  // namespace soup
