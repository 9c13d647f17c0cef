// `soup search` as a user meets it, alone and on several ranks: what it finds, writes, keeps and refuses.
#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/safetensors.hpp"
#include "tests/support/command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Scores by minus the squared distance from the weights (8, 6, 4, 2, 0, ...), an item each, and a line a call in
// `calls`.
constexpr const char* score_script = R"(import array, json, os, struct, sys
with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = file.read()
begin, end = header["w"]["data_offsets"]
weights = array.array("f", data[begin:end])
with open("calls", "a") as calls:
    calls.write("call\n")
if os.path.exists("broken"):
    sys.exit("no data")
print("scoring", len(weights), "weights")
print(json.dumps({"scores": [-(w - max(0, 8 - 2 * i)) ** 2 for i, w in enumerate(weights)]}))
)";

class SearchVerb : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  void SetUp() override {
    write_file_atomically(folder_ / "score.py", score_script);
    // a and c together are right; b and d are not, and d is another b.
    write("a", {9, 8, 3, 2, 1, 0, 0, 1});
    write("b", {4, 6, 9, 2, 5, 0, 0, 0});
    write("c", {7, 4, 5, 2, -1, 0, 0, -1});
    write("d", {9, 1, 9, 9, 5, 0, 0, 0});
  }

  void write(const std::string& name, const std::vector<float>& values) {
    const std::vector<TensorSource> tensors{
        {"w", DType::f32, {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))}};
    write_safetensors(folder_ / (name + ".safetensors"), tensors, {});
  }

  [[nodiscard]] test::Outcome run(const std::string& command) const {
    return test::run_command("cd " + folder_.path().string() + " && " + command);
  }
  [[nodiscard]] test::Outcome search(const std::string& arguments, int ranks = 0) const {
    const std::string launch = ranks == 0 ? ""
                                          : std::string("timeout 100 ") + MPIRUN +
                                                " --oversubscribe --bind-to none -n " + std::to_string(ranks) + " ";
    return run(launch + SOUP_BINARY_DIR + "/soup search a.safetensors b.safetensors c.safetensors d.safetensors " +
               arguments);
  }
  [[nodiscard]] nlohmann::json record(const std::string& name) const {
    return nlohmann::json::parse(read_file(folder_ / name));
  }
  [[nodiscard]] std::size_t calls() const {
    return static_cast<std::size_t>(std::filesystem::exists(folder_ / "calls") ? read_file(folder_ / "calls").size() / 5
                                                                               : 0);
  }
};

constexpr const char* scoring = "--score 'python3 score.py {model}' ";

TEST_F(SearchVerb, FindsTheGreedySoup) {
  const test::Outcome outcome = search(std::string(scoring) + "--output best.safetensors");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("all inputs equally: "), HasSubstr("with c: "), HasSubstr(": kept"),
                                  HasSubstr(": left out"), HasSubstr("best.safetensors: soup ")));
  const nlohmann::json found = record("best.search/search.json");
  EXPECT_EQ(found["strategy"], "greedy");
  EXPECT_EQ(found["chosen"], nlohmann::json({{"a", 1.0}, {"c", 1.0}}));
  EXPECT_EQ(found["inputs"].size(), 4U);
  ASSERT_EQ(found["greedy"]["steps"].size(), 3U);
  EXPECT_EQ(found["greedy"]["order"][0]["input"], "a");
  EXPECT_EQ(found["result"]["score"]["score"], 0.0) << "the mean of a and c is the target";
  // The soup is the one that soup merge makes.
  ASSERT_EQ(
      run(std::string(SOUP_BINARY_DIR) + "/soup merge a.safetensors c.safetensors --output merged.safetensors").code,
      0);
  ASSERT_EQ(
      run(std::string(SOUP_BINARY_DIR) + "/soup merge --recipe best.search/recipe.yaml --output again.safetensors")
          .code,
      0);
  EXPECT_EQ(read_file(folder_ / "best.safetensors"), read_file(folder_ / "merged.safetensors"));
  EXPECT_EQ(read_file(folder_ / "best.safetensors"), read_file(folder_ / "again.safetensors"));
}

TEST_F(SearchVerb, IsTheSameOnAnyNumberOfRanks) {
  for (const std::string strategy : {"greedy", "cma-es --budget 22 --seed 3"}) {
    std::string expected;
    std::string soup;
    for (const int ranks : {0, 1, 3}) {
      std::filesystem::remove_all(folder_ / "best.search");
      const test::Outcome outcome =
          search(std::string(scoring) + "--overwrite --output best.safetensors --strategy " + strategy, ranks);
      ASSERT_EQ(outcome.code, 0) << outcome.text;
      const std::string found = read_file(folder_ / "best.search/search.json");
      expected = expected.empty() ? found : expected;
      soup = soup.empty() ? read_file(folder_ / "best.safetensors") : soup;
      EXPECT_EQ(found, expected) << strategy << " on " << ranks;
      EXPECT_EQ(read_file(folder_ / "best.safetensors"), soup) << strategy << " on " << ranks;
    }
  }
}

TEST_F(SearchVerb, TakesScoresFromBefore) {
  const std::string arguments = std::string(scoring) + "--output best.safetensors --overwrite";
  ASSERT_EQ(search(arguments).code, 0);
  const std::size_t before = calls();
  EXPECT_EQ(before, 8U) << "all, four alone, three steps";
  const std::string found = read_file(folder_ / "best.search/search.json");
  // As a killed process leaves it.
  const std::filesystem::path scores = folder_ / "best.search/scores-0.jsonl";
  std::string text = read_file(scores);
  text.resize(text.size() - 20);
  write_file_atomically(scores, text);
  const test::Outcome again = search(arguments);
  ASSERT_EQ(again.code, 0) << again.text;
  EXPECT_EQ(calls(), before + 1);
  EXPECT_THAT(again.text, HasSubstr("1 soups scored, 7 scores taken from best.search"));
  EXPECT_EQ(read_file(folder_ / "best.search/search.json"), found);
  ASSERT_EQ(search(arguments).code, 0);
  EXPECT_EQ(calls(), before + 1);
  // Other weights under the same name are another soup.
  write("b", {4, 6, 9, 2, 5, 0, 0, 1});
  ASSERT_EQ(search(arguments).code, 0);
  EXPECT_GT(calls(), before + 1);
}

TEST_F(SearchVerb, LearnsWeightsAndConfirmsThem) {
  const test::Outcome outcome = search(std::string(scoring) +
                                       "--strategy cma-es --budget 60 --output best.safetensors --margin 0.5 "
                                       "--confirm 'python3 score.py {model} confirm'");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json found = record("best.search/search.json");
  EXPECT_GT(found["result"]["score"]["score"].get<double>(), found["equal_weights"]["score"].get<double>());
  EXPECT_EQ(found["chosen"], found["result"]["weights"]);
  EXPECT_GT(found["chosen"]["a"].get<double>(), 0.3);
  EXPECT_LT(found["chosen"]["d"].get<double>(), 0.1);
  EXPECT_EQ(found["confirmed"]["gain"], found["result"]["gain"]) << "the same data here";
}

TEST_F(SearchVerb, KeepsEqualWeightsWithoutAGain) {
  const test::Outcome outcome = search(
      "--strategy cma-es --budget 20 --output best.safetensors --score 'echo {model} >/dev/null; echo "
      "\"{\\\"score\\\": 1, \\\"standard_error\\\": 0.1}\"'");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("the soup has equal weights"));
  EXPECT_EQ(record("best.search/search.json")["chosen"],
            nlohmann::json({{"a", 1.0}, {"b", 1.0}, {"c", 1.0}, {"d", 1.0}}));
}

TEST_F(SearchVerb, LeavesNoSoupWhenScoringFails) {
  write_file_atomically(folder_ / "broken", "");
  for (const int ranks : {0, 3}) {
    const test::Outcome outcome = search(std::string(scoring) + "--output best.safetensors", ranks);
    EXPECT_EQ(outcome.code, 3) << outcome.text;
    EXPECT_THAT(outcome.text, AllOf(HasSubstr("ended with code 1; it printed:\nno data"), HasSubstr("score.py")));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "best.safetensors"));
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "best.search")) {
      EXPECT_THAT(entry.path().filename().string(), AnyOf("lock", testing::StartsWith("scores-")));
    }
  }
}

TEST_F(SearchVerb, StopsOnASignalAndGoesOn) {
  const std::string slow = "--score 'sleep 0.4; python3 score.py {model}' --output best.safetensors";
  const test::Outcome stopped = run(std::string("timeout -s TERM 1.5 ") + SOUP_BINARY_DIR +
                                    "/soup search a.safetensors b.safetensors c.safetensors d.safetensors " + slow);
  EXPECT_THAT(stopped.text, HasSubstr("stopped on a signal"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "best.safetensors"));
  const std::size_t before = calls();
  ASSERT_EQ(search(slow).code, 0);
  EXPECT_LE(calls(), before + 8);
  EXPECT_EQ(calls(), 8U) << "no score was lost and none was taken twice";
}

TEST_F(SearchVerb, WorksInAFolderAlone) {
  const std::string slow = "--score 'sleep 3; python3 score.py {model}' --output best.safetensors";
  std::thread first([&] { static_cast<void>(search(slow + " --timeout 1")); });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const test::Outcome second = search(std::string(scoring) + "--output best.safetensors");
  first.join();
  EXPECT_EQ(second.code, 3);
  EXPECT_THAT(second.text, HasSubstr("another search works here"));
}

TEST_F(SearchVerb, SearchesOtherMethodsFromARecipe) {
  write("base", {0, 0, 0, 0, 0, 0, 0, 0});
  write_file_atomically(folder_ / "mix.yaml", R"(schema: 1
method: task_arithmetic
inputs:
  - path: a.safetensors
  - path: c.safetensors
base: {path: base.safetensors}
)");
  const test::Outcome outcome = run(std::string(SOUP_BINARY_DIR) + "/soup search --recipe mix.yaml " + scoring +
                                    "--strategy cma-es --budget 30 --output best.safetensors");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json found = record("best.search/search.json");
  EXPECT_EQ(found["method"], "task_arithmetic");
  EXPECT_EQ(found["inputs"][2]["is_base"], true);
}

TEST_F(SearchVerb, RefusesBeforeAnyWork) {
  const auto refusal = [&](const std::string& arguments, int code) {
    const test::Outcome outcome = run(std::string(SOUP_BINARY_DIR) + "/soup search " + arguments);
    EXPECT_EQ(outcome.code, code) << outcome.text;
    return outcome.text;
  };
  const std::string rest = std::string(" ") + scoring + "--output best.safetensors";
  EXPECT_THAT(refusal("a.safetensors" + rest, 2), HasSubstr("1 inputs leave nothing to search"));
  EXPECT_THAT(refusal("a.safetensors x/a.safetensors" + rest, 2), HasSubstr("two inputs are named \"a\""));
  EXPECT_THAT(refusal("a.safetensors none.safetensors" + rest, 3), HasSubstr("none.safetensors"));
  EXPECT_THAT(refusal(rest, 2), HasSubstr("nothing to search"));
  EXPECT_THAT(refusal("a.safetensors b.safetensors --score 'echo 1' --output best.safetensors", 2),
              HasSubstr("does not name {model}"));
  EXPECT_THAT(refusal("a.safetensors b.safetensors --score 'echo {model}' --confirm x --output best.safetensors", 2),
              HasSubstr("the command \"x\" does not name {model}"));
  EXPECT_THAT(refusal("a.safetensors b.safetensors --score 'echo {model}' --output a.safetensors --overwrite", 2),
              HasSubstr("is also an input"));
  EXPECT_THAT(refusal("a.safetensors b.safetensors --strategy luck" + rest, 2),
              HasSubstr("\"luck\" is none of greedy|cma-es"));
  EXPECT_THAT(refusal("a.safetensors b.safetensors --margin -1" + rest, 2), HasSubstr("margin"));
  write("wide", {1, 2, 3});
  EXPECT_THAT(refusal("a.safetensors wide.safetensors" + rest, 3), HasSubstr("wide"));
  write_file_atomically(folder_ / "mix.yaml",
                        "schema: 1\nmethod: model_stock\ninputs: [{path: a.safetensors}, {path: b.safetensors}]\n"
                        "base: {path: c.safetensors}\n");
  EXPECT_THAT(refusal("--recipe mix.yaml" + rest, 2), HasSubstr("method model_stock does not fit a greedy search"));
  write_file_atomically(folder_ / "mix.yaml",
                        "schema: 1\ninputs: [{path: a.safetensors, weight: 2}, {path: b.safetensors}]\n");
  EXPECT_THAT(refusal("--recipe mix.yaml" + rest, 2), HasSubstr("a search finds the weights"));
  EXPECT_EQ(calls(), 0U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "best.search"));
}

}  // namespace
}  // namespace soup
