// Every kind of key, read strictly and written canonically.
#include "experiments/yaml_reader.hpp"

#include <gmock/gmock.h>

#include <array>
#include <limits>

#include "core/error.hpp"
#include "experiments/yaml_parser.hpp"
#include "experiments/yaml_writer.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::array<std::string_view, 2> colours = {"red", "green"};

struct Everything {
  std::int64_t whole = 1;
  std::uint64_t seed = 0;
  double number = 0.5;
  std::optional<double> maybe;
  bool truth = false;
  std::string text = "t";
  std::string word = "red";
  std::filesystem::path path;
  std::vector<std::int64_t> wholes;
  std::vector<std::string> texts;
  std::vector<std::string> words;
  std::int64_t inner = 3;
  bool present = false;
  std::int64_t optional_inner = 4;
  std::vector<std::string> names;
};

void describe(Keys& keys, Everything& e) {
  keys.whole("whole", e.whole, {-5, 100});
  keys.seed("seed", e.seed);
  keys.number("number", e.number, {.least = 0.0, .most = 1.0, .above_least = true});
  keys.optional_number("maybe", e.maybe, {0.0, 1.0});
  keys.truth("truth", e.truth);
  keys.text("text", e.text, Need::optional);
  keys.word("word", e.word, colours);
  keys.path("path", e.path, Need::optional);
  keys.whole_list("wholes", e.wholes, {0, 9});
  keys.text_list("texts", e.texts);
  keys.word_list("words", e.words, colours);
  keys.section("section", [&e](Keys& inner) { inner.whole("inner", e.inner, {0, 9}); });
  keys.optional_section("option", e.present, [&e](Keys& inner) { inner.whole("inner", e.optional_inner, {0, 9}); });
  keys.list(
      "items", e.names.size(), [&e](std::size_t n) { e.names.resize(n); },
      [&e](Keys& inner, std::size_t i) { inner.text("name", e.names[i], Need::required); });
}

Everything read(const std::string& yaml) {
  Everything e;
  read_keys(
      parse_yaml(yaml, "x.yaml"), [&e](Keys& keys) { describe(keys, e); },
      [](const std::filesystem::path& path) { return "/resolved" / path; });
  return e;
}

std::string refusal(const std::string& yaml) {
  try {
    read(yaml);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(YamlReader, ReadsEveryKind) {
  const Everything e = read(
      "whole: -3\nseed: 18446744073709551615\nnumber: 1e-3\nmaybe: 0\ntruth: true\ntext: two words\nword: green\n"
      "path: p/q\nwholes: [1, 2]\ntexts: [a, \"1\"]\nwords: [green, red]\nsection: {inner: 7}\noption: {}\n"
      "items:\n  - name: n\n");
  EXPECT_EQ(e.whole, -3);
  EXPECT_EQ(e.seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(e.number, 0.001);
  EXPECT_EQ(e.maybe, 0.0);
  EXPECT_TRUE(e.truth);
  EXPECT_EQ(e.text, "two words");
  EXPECT_EQ(e.word, "green");
  EXPECT_EQ(e.path, "/resolved/p/q");
  EXPECT_THAT(e.wholes, ElementsAre(1, 2));
  EXPECT_THAT(e.texts, ElementsAre("a", "1"));
  EXPECT_THAT(e.words, ElementsAre("green", "red"));
  EXPECT_EQ(e.inner, 7);
  EXPECT_TRUE(e.present);
  EXPECT_EQ(e.optional_inner, 4);
  EXPECT_THAT(e.names, ElementsAre("n"));
}

TEST(YamlReader, KeepsDefaultsOfAbsentKeys) {
  const Everything e = read("whole: 2\n");
  EXPECT_EQ(e.number, 0.5);
  EXPECT_FALSE(e.maybe.has_value());
  EXPECT_FALSE(e.present);
  EXPECT_EQ(e.inner, 3);
}

TEST(YamlReader, NamesUnknownKeysWithTheNearest) {
  EXPECT_EQ(refusal("whole: 1\nnumbr: 1\n"), "x.yaml:2: numbr: unknown key\n  hint: did you mean \"number\"?");
  EXPECT_THAT(refusal("section: {inmer: 1}\n"),
              AllOf(StartsWith("x.yaml:1: section.inmer: unknown key"), HasSubstr("\"inner\"")));
  EXPECT_THAT(refusal("items:\n  - name: a\n  - nmae: b\n"),
              AllOf(StartsWith("x.yaml:3: items[1].nmae: unknown key"), HasSubstr("\"name\"")));
  EXPECT_THAT(refusal("zzzzzzzz: 1\n"), HasSubstr("the keys here are whole, seed, number"));
}

TEST(YamlReader, ShowsTextAndExpectationOfWrongTypes) {
  EXPECT_EQ(refusal("whole: many\n"), "x.yaml:1: whole: expected an integer, got \"many\"");
  EXPECT_THAT(refusal("whole: 1.5\n"), HasSubstr("expected an integer, got \"1.5\""));
  EXPECT_THAT(refusal("whole: \"3\"\n"), AllOf(HasSubstr("got the quoted text \"3\""), HasSubstr("without quotes")));
  EXPECT_THAT(refusal("whole:\n"), HasSubstr("expected an integer, got nothing"));
  EXPECT_THAT(refusal("whole: [1]\n"), HasSubstr("expected an integer, got a list of 1"));
  EXPECT_THAT(refusal("whole: +-3\n"), HasSubstr("expected an integer"));
  EXPECT_THAT(refusal("whole: 0x10\n"), HasSubstr("expected an integer"));
  EXPECT_THAT(refusal("number: fast\n"), HasSubstr("expected a number, got \"fast\""));
  EXPECT_THAT(refusal("truth: yes\n"), HasSubstr("expected true or false, got \"yes\""));
  EXPECT_THAT(refusal("text: {a: 1}\n"), HasSubstr("expected text, got a map with 1 key"));
  EXPECT_THAT(refusal("wholes: 3\n"), HasSubstr("expected a list, got \"3\""));
  EXPECT_THAT(refusal("wholes: [1, x]\n"), StartsWith("x.yaml:1: wholes[1]: expected an integer"));
  EXPECT_THAT(refusal("section: 3\n"), HasSubstr("expected a map of keys, got \"3\""));
  EXPECT_THAT(refusal("section:\n"), HasSubstr("expected a map of keys, got nothing"));
  EXPECT_THAT(refusal("items: {name: a}\n"), HasSubstr("expected a list, got a map"));
  EXPECT_THAT(refusal("items: [a]\n"), HasSubstr("items[0]: expected a map of keys"));
}

TEST(YamlReader, ShowsValueAndRange) {
  EXPECT_EQ(refusal("whole: 101\n"), "x.yaml:1: whole: 101 is out of range; allowed: -5 to 100");
  EXPECT_THAT(refusal("whole: 99999999999999999999\n"), HasSubstr("is out of range; allowed: -5 to 100"));
  EXPECT_THAT(refusal("seed: -1\n"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("seed: 18446744073709551616\n"), HasSubstr("out of range"));
  EXPECT_EQ(refusal("number: 0\n"), "x.yaml:1: number: 0 is out of range; allowed: (0, 1]");
  EXPECT_THAT(refusal("number: nan\n"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("number: inf\n"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("number: 1e400\n"), testing::Not("accepted"));
  EXPECT_THAT(refusal("wholes: [10]\n"), HasSubstr("allowed: 0 to 9"));
}

TEST(YamlReader, SuggestsWords) {
  EXPECT_EQ(refusal("word: gren\n"),
            "x.yaml:1: word: \"gren\" is not one of red, green\n  hint: did you mean \"green\"?");
  EXPECT_THAT(refusal("words: [red, blue]\n"), StartsWith("x.yaml:1: words[1]: \"blue\" is not one of red, green"));
}

TEST(YamlReader, AsksForRequiredKeys) {
  EXPECT_THAT(refusal("items:\n  - {}\n"), StartsWith("x.yaml:2: items[0].name: this key is required"));
  EXPECT_THAT(refusal("items:\n  - name: \"\"\n"), HasSubstr("must not be empty"));
}

TEST(YamlWriter, WritesWhatReadsBack) {
  Everything e;
  e.text = "a: \"b\" # \\ \x01 \xC3\xA4\n";
  e.texts = {"", "true", "1", "- x", "plain words", "{", "null", "~", "it's"};
  e.number = 0.1;
  e.maybe = 1e-7;
  e.present = true;
  e.names = {"x", "no"};
  e.wholes = {1, 2};
  Everything copy = e;
  const std::string text = write_keys([&copy](Keys& keys) { describe(keys, copy); }, {});
  const Everything back = read(text);
  EXPECT_EQ(back.text, e.text);
  EXPECT_EQ(back.texts, e.texts);
  EXPECT_EQ(back.number, e.number);
  EXPECT_EQ(back.maybe, e.maybe);
  EXPECT_EQ(back.names, e.names);
  EXPECT_EQ(back.wholes, e.wholes);
  EXPECT_TRUE(back.present);
}

TEST(YamlWriter, LeavesOutKeysByPath) {
  Everything e;
  e.names = {"x"};
  const std::string text =
      write_keys([&e](Keys& keys) { describe(keys, e); }, {"whole", "section.inner", "wholes", "texts", "words"});
  EXPECT_THAT(text, testing::Not(HasSubstr("whole")));
  EXPECT_THAT(text, testing::Not(HasSubstr("section")));
  EXPECT_THAT(text, HasSubstr("items:\n  - name: x\n"));
}

TEST(YamlWriter, WritesShortestNumbers) {
  EXPECT_EQ(yaml_number(0.0005), "0.0005");
  EXPECT_EQ(yaml_number(3.0), "3");
  EXPECT_EQ(yaml_number(1e-8), "1e-08");
  EXPECT_EQ(yaml_number(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(yaml_number(0.0), "0");
}

}  // namespace
}  // namespace soup
