// The tokenizer against transformers' CLIPTokenizer, learning against a plain learner, and broken folders.
#include "trainer/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"
#include "trainer/unicode_words.hpp"

namespace soup {
namespace {

using nlohmann::json;
using std::filesystem::path;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

path fixture(const std::string& name) {
  return path(SOUP_SOURCE_DIR) / "tests" / "fixtures" / "parity" / name;
}

std::vector<std::string> captions() {
  return json::parse(read_file(fixture("captions.json"))).get<std::vector<std::string>>();
}

void expect_ids(const Tokenizer& tokenizer, const json& cases) {
  ASSERT_GT(cases["strings"].size(), 200U);
  for (std::size_t i = 0; i < cases["strings"].size(); ++i) {
    const auto text = cases["strings"][i].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text).ids, cases["ids"][i].get<std::vector<std::int64_t>>()) << text;
  }
}

class TokenizerParity : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerParity, SameIdsAsTransformers) {
  const Tokenizer tokenizer = Tokenizer::load(fixture(GetParam()));
  expect_ids(tokenizer, json::parse(read_file(fixture(GetParam()) / "cases.json")));
}

TEST_P(TokenizerParity, SavedAndLoadedAgain) {
  const test::TemporaryFolder folder;
  Tokenizer::load(fixture(GetParam())).save(folder.path());
  expect_ids(Tokenizer::load(folder.path()), json::parse(read_file(fixture(GetParam()) / "cases.json")));
}

// tokenizer/tokenizer_config.json and special_tokens_map.json of Stable Diffusion 2, as published: they name different
// tokens to pad with, and the map's is the one that transformers takes.
TEST(Tokenizer, StableDiffusion2PadsWithExclamationMarks) {
  const test::TemporaryFolder folder;
  const path& root = folder.path();
  for (const char* file : {"vocab.json", "merges.txt"}) {
    std::filesystem::copy(fixture("tokenizer_objects") / file, root);
  }
  json config = json::parse(R"({
    "add_prefix_space": false,
    "bos_token": {"__type": "AddedToken", "content": "<|startoftext|>", "lstrip": false, "normalized": true,
                  "rstrip": false, "single_word": false},
    "do_lower_case": true,
    "eos_token": {"__type": "AddedToken", "content": "<|endoftext|>", "lstrip": false, "normalized": true,
                  "rstrip": false, "single_word": false},
    "errors": "replace", "model_max_length": 77, "name_or_path": "hf-models/stable-diffusion-v2-768x768/tokenizer",
    "pad_token": "<|endoftext|>", "special_tokens_map_file": "./special_tokens_map.json",
    "tokenizer_class": "CLIPTokenizer",
    "unk_token": {"__type": "AddedToken", "content": "<|endoftext|>", "lstrip": false, "normalized": true,
                  "rstrip": false, "single_word": false}})");
  config["model_max_length"] = 24;  // of the cases
  write_file_atomically(root / "tokenizer_config.json", config.dump());
  write_file_atomically(root / "special_tokens_map.json", R"({
    "bos_token": {"content": "<|startoftext|>", "lstrip": false, "normalized": true, "rstrip": false,
                  "single_word": false},
    "eos_token": {"content": "<|endoftext|>", "lstrip": false, "normalized": true, "rstrip": false,
                  "single_word": false},
    "pad_token": "!",
    "unk_token": {"content": "<|endoftext|>", "lstrip": false, "normalized": true, "rstrip": false,
                  "single_word": false}})");
  const Tokenizer tokenizer = Tokenizer::load(root);
  expect_ids(tokenizer, json::parse(read_file(fixture("tokenizer_objects") / "cases.json")));
  const json vocabulary = json::parse(read_file(root / "vocab.json"));
  EXPECT_EQ(tokenizer.encode("").ids.back(), vocabulary["!"].get<std::int64_t>());
}

TEST_P(TokenizerParity, ReadFromTokenizerJson) {
  // transformers 5 writes the vocabulary into tokenizer.json only.
  const test::TemporaryFolder folder;
  std::filesystem::copy(fixture(GetParam()) / "tokenizer_config.json", folder.path());
  std::filesystem::copy(fixture(GetParam()) / "special_tokens_map.json", folder.path());
  json merges = json::array();
  std::istringstream lines(read_file(fixture(GetParam()) / "merges.txt"));
  std::string line;
  std::getline(lines, line);  // the version
  while (std::getline(lines, line)) {
    const std::size_t space = line.find(' ');
    merges.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  const json model = {
      {"type", "BPE"}, {"vocab", json::parse(read_file(fixture(GetParam()) / "vocab.json"))}, {"merges", merges}};
  write_file_atomically(folder.path() / "tokenizer.json", json({{"model", model}}).dump());
  expect_ids(Tokenizer::load(folder.path()), json::parse(read_file(fixture(GetParam()) / "cases.json")));
}

INSTANTIATE_TEST_SUITE_P(Folders, TokenizerParity, testing::Values("tokenizer", "tokenizer_objects"));

TEST(Tokenizer, LearnsTheSameMergesAsThePlainLearner) {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::learn(captions(), 640, 16);
  tokenizer.save(folder.path());
  EXPECT_EQ(read_file(folder.path() / "merges.txt"), read_file(fixture("tokenizer") / "merges.txt"));
  EXPECT_EQ(json::parse(read_file(folder.path() / "vocab.json")),
            json::parse(read_file(fixture("tokenizer") / "vocab.json")));
  EXPECT_EQ(tokenizer.vocab_size(),
            static_cast<std::int64_t>(json::parse(read_file(folder.path() / "vocab.json")).size()));
}

TEST(Tokenizer, LearningDependsOnTheMultisetOfCaptionsOnly) {
  std::vector<std::string> shuffled = captions();
  std::ranges::reverse(shuffled);
  std::ranges::rotate(shuffled, shuffled.begin() + 5);
  const test::TemporaryFolder one;
  const test::TemporaryFolder other;
  Tokenizer::learn(captions(), 700, 16).save(one.path());
  Tokenizer::learn(shuffled, 700, 16).save(other.path());
  for (const char* file : {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"}) {
    EXPECT_EQ(read_file(one.path() / file), read_file(other.path() / file)) << file;
  }
}

TEST(Tokenizer, LearnsByHand) {
  // "low" 3 times, "lower" once: l+o (4) before o+w</w> (3) by count; then lo+w</w> (3); nothing else occurs twice.
  const std::vector<std::string> words = {"low low lower LOW"};
  const Tokenizer tokenizer = Tokenizer::learn(words, 1000, 6);
  EXPECT_EQ(tokenizer.vocab_size(), 514 + 2);
  EXPECT_THAT(tokenizer.encode("low lo").ids, ElementsAre(0, 515, 2 + 'l', 2 + 256 + 'o', 1, 1));
}

TEST(Tokenizer, TruncationIsReported) {
  const std::vector<std::string> none;
  const Tokenizer tokenizer = Tokenizer::learn(none, 514, 5);
  EXPECT_FALSE(tokenizer.encode("abc").truncated);
  EXPECT_TRUE(tokenizer.encode("abcd").truncated);
  EXPECT_THAT(tokenizer.encode("abcd").ids, ElementsAre(0, 2 + 'a', 2 + 'b', 2 + 'c', 1));
  EXPECT_THAT(tokenizer.encode("").ids, ElementsAre(0, 1, 1, 1, 1));
  EXPECT_EQ(tokenizer.start_token(), 0);
  EXPECT_EQ(tokenizer.end_token(), 1);
}

TEST(Tokenizer, BadArgumentsAreRefused) {
  const std::vector<std::string> broken = {"caf\xe9"};
  EXPECT_THROW(Tokenizer::learn(broken, 600, 16), ConfigError);
  EXPECT_THROW(Tokenizer::learn(captions(), 513, 16), ConfigError);
  EXPECT_THROW(Tokenizer::learn(captions(), 600, 1), ConfigError);
  EXPECT_THROW((void)Tokenizer::learn(captions(), 600, 16).encode("\xff"), ConfigError);
}

TEST(Tokenizer, WordsOfCleanedText) {
  EXPECT_THAT(clip_words(clip_clean("It's  A1b2!? \u00c9t\u00e9's")),
              ElementsAre("it", "'s", "a", "1", "b", "2", "!?", "\u00e9t\u00e9", "'s"));
  EXPECT_THAT(clip_words(clip_clean(" \n\u3000")), IsEmpty());
  EXPECT_EQ(clip_clean("E\u0301\u03a3"), "\u00e9\u03c3");
}

// A copy of the fixture's folder with one file changed.
class BrokenTokenizer : public testing::Test {
 protected:
  BrokenTokenizer() { std::filesystem::copy(fixture("tokenizer"), folder_.path()); }
  std::string message() {
    try {
      Tokenizer::load(folder_.path());
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }
  void write(const char* file, const std::string& text) { write_file_atomically(folder_.path() / file, text); }
  json read(const char* file) { return json::parse(read_file(folder_.path() / file)); }
  const path& folder() const { return folder_.path(); }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(BrokenTokenizer, FilesMissingOrNotJson) {
  write("vocab.json", "{\"a\": 0");
  EXPECT_THAT(message(), HasSubstr("vocab.json"));
  write("vocab.json", "[1, 2]");
  EXPECT_THAT(message(), HasSubstr("vocab.json"));
  std::filesystem::remove(folder() / "vocab.json");
  EXPECT_THAT(message(), HasSubstr("vocab.json"));
  std::filesystem::remove(folder() / "tokenizer_config.json");
  EXPECT_THAT(message(), HasSubstr("tokenizer_config.json"));
}

TEST_F(BrokenTokenizer, IdsWithHolesOrTwice) {
  json vocabulary = read("vocab.json");
  vocabulary["!"] = vocabulary["\""];
  write("vocab.json", vocabulary.dump());
  EXPECT_THAT(message(), HasSubstr("each once"));
  vocabulary["!"] = -1;
  write("vocab.json", vocabulary.dump());
  EXPECT_THAT(message(), HasSubstr("has id -1"));
}

TEST_F(BrokenTokenizer, MergesThatMakeNoToken) {
  write("merges.txt", "#version: 0.2\na b\nq zz\n");
  EXPECT_THAT(message(), HasSubstr("merge"));
  write("merges.txt", "one two three\n");
  EXPECT_THAT(message(), HasSubstr("one two three"));
}

TEST_F(BrokenTokenizer, ConfigurationOutOfRange) {
  json config = read("tokenizer_config.json");
  for (const json& value : {json(1), json(1e30), json("16"), json(nullptr)}) {
    config["model_max_length"] = value;
    write("tokenizer_config.json", config.dump());
    EXPECT_THAT(message(), HasSubstr("model_max_length")) << value;
  }
  config["model_max_length"] = 16;
  config["tokenizer_class"] = "T5Tokenizer";
  write("tokenizer_config.json", config.dump());
  EXPECT_THAT(message(), HasSubstr("T5Tokenizer"));
}

TEST_F(BrokenTokenizer, ValuesOfAnotherTypeAreNamedWithTheirFile) {
  const json good = read("tokenizer_config.json");
  const std::pair<const char*, json> changes[] = {
      {"tokenizer_class", 5},
      {"bos_token", {{"content", "<|startoftext|>"}, {"normalized", "yes"}}},
      {"bos_token", {{"content", "<|startoftext|>"}, {"lstrip", 1}}},
      {"bos_token", {{"content", 5}}},
      {"added_tokens_decoder", {{"0", 5}}},
      {"added_tokens_decoder", {1}},
  };
  for (const auto& [key, value] : changes) {
    json config = good;
    config[key] = value;
    write("tokenizer_config.json", config.dump());
    EXPECT_THAT(message(), HasSubstr("tokenizer_config.json")) << key << " = " << value;
  }
  json config = good;
  config["bos_token"] = {{"content", "<|startoftext|>"}, {"normalized", nullptr}};  // as good as absent
  write("tokenizer_config.json", config.dump());
  EXPECT_EQ(message(), "accepted");
  write("tokenizer_config.json", "[]");
  EXPECT_THAT(message(), HasSubstr("is a JSON array, not an object"));
  write("tokenizer_config.json", good.dump());
  write("special_tokens_map.json", "7");
  EXPECT_THAT(message(), HasSubstr("special_tokens_map.json"));
  json vocabulary = read("vocab.json");
  vocabulary["!"] = 1e300;
  write("vocab.json", vocabulary.dump());
  EXPECT_THAT(message(), HasSubstr("no whole number"));
}

TEST_F(BrokenTokenizer, SpecialTokensThatAreNotTokens) {
  json specials = read("special_tokens_map.json");
  specials["pad_token"] = "<pad>";
  write("special_tokens_map.json", specials.dump());
  EXPECT_THAT(message(), HasSubstr("<pad>"));
  specials["pad_token"] = {{"content", "!"}, {"lstrip", true}};
  write("special_tokens_map.json", specials.dump());
  EXPECT_THAT(message(), HasSubstr("lstrip"));
}

}  // namespace
}  // namespace soup
