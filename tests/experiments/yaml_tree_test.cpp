// What the YAML tree takes, what it refuses, and where it says things are.
#include "experiments/yaml_tree.hpp"

#include <gmock/gmock.h>

#include <fstream>

#include "core/error.hpp"
#include "experiments/yaml_parser.hpp"
#include "experiments/yaml_path.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal(const std::string& text) {
  try {
    parse_yaml(text, "x.yaml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(YamlTree, KeepsValuesOrderAndLines) {
  const YamlNode root = parse_yaml("a: 1\nb:\n  - x\n  - {c: \"2\", d: }\n", "x.yaml");
  ASSERT_EQ(root.entries.size(), 2U);
  EXPECT_EQ(root.find("a")->text, "1");
  EXPECT_FALSE(root.find("a")->quoted);
  EXPECT_EQ(root.find("a")->where(), "x.yaml:1");
  const YamlNode* c = find_at(root, "b[1].c");
  ASSERT_NE(c, nullptr);
  EXPECT_TRUE(c->quoted);
  EXPECT_EQ(c->where(), "x.yaml:4");
  EXPECT_EQ(find_at(root, "b[1].d")->kind, YamlNode::Kind::null);
  EXPECT_EQ(find_at(root, "b[2]"), nullptr);
  EXPECT_EQ(where_of(root, "b[1].missing.deeper"), "x.yaml:4");
}

TEST(YamlTree, TakesWindowsLineEndsAndAByteOrderMark) {
  EXPECT_EQ(parse_yaml("a: 1\r\nb: 2\r\n", "x").find("b")->text, "2");
  EXPECT_EQ(parse_yaml("\xEF\xBB\xBF"
                       "a: 1\n",
                       "x")
                .find("a")
                ->text,
            "1");
}

TEST(YamlTree, TakesEveryKindOfQuote) {
  const YamlNode root =
      parse_yaml("\xEF\xBB\xBF# \xC3\xA4\na: 'it''s'\nb: \"x \\\" y\"\nc: ''\nd: [\"\", 'q']\r\n", "x");
  EXPECT_EQ(root.find("a")->text, "it's");
  EXPECT_EQ(root.find("b")->text, "x \" y");
  EXPECT_EQ(root.find("c")->text, "");
  EXPECT_EQ(find_at(root, "d[1]")->text, "q");
}

TEST(YamlTree, TakesBlocksOfText) {
  const YamlNode root = parse_yaml("a: |\n  it's\n   two \"lines\n\nb: >-\n  one\n  line\n", "x.yaml");
  EXPECT_EQ(root.find("a")->text, "it's\n two \"lines\n");
  EXPECT_EQ(root.find("b")->text, "one line");
  EXPECT_EQ(parse_yaml("a: \"x\"\nb: |\n  it's", "x.yaml").find("b")->text, "it's");
}

TEST(YamlTree, RefusesTabs) {
  EXPECT_THAT(refusal("a:\n\tb: 1\n"), AllOf(StartsWith("x.yaml:2: a tab in column 1"), HasSubstr("spaces")));
  EXPECT_THAT(refusal("a: 1 \t# note\n"), StartsWith("x.yaml:1: a tab in column 6"));
}

TEST(YamlTree, RefusesReferencesAndTags) {
  for (const char* text : {"a: ! x\n", "a: ! \"x\"\n", "a: ! |\n  x\n"}) {
    EXPECT_THAT(refusal(text), HasSubstr("a tag (!) is not allowed")) << text;
  }
  EXPECT_THAT(refusal("a: &x 1\n"), AllOf(StartsWith("x.yaml:1: "), HasSubstr("anchor")));
  EXPECT_THAT(refusal("a: &x {b: 1}\nc: *x\n"), HasSubstr("anchor"));
  EXPECT_THAT(refusal("a: 1\nb: *x\n"), StartsWith("x.yaml:2: "));
  EXPECT_THAT(refusal("a: !!int 1\n"), HasSubstr("tag"));
  EXPECT_THAT(refusal("a: !mine {b: 1}\n"), HasSubstr("tag"));
  EXPECT_THAT(refusal("a:\n  <<: {b: 1}\n"), AllOf(StartsWith("x.yaml:2: "), HasSubstr("merge key")));
}

TEST(YamlTree, RefusesDuplicateKeys) {
  EXPECT_THAT(refusal("a: 1\nb: 2\na: 3\n"),
              AllOf(StartsWith("x.yaml:3: "), HasSubstr("\"a\" is given twice; first in x.yaml:1")));
  EXPECT_THAT(refusal("m: {k: 1, k: 2}\n"), HasSubstr("twice"));
}

TEST(YamlTree, RefusesKeysThatAreNoText) {
  EXPECT_THAT(refusal("{[1, 2]: 3}\n"), HasSubstr("key must be plain text"));
  EXPECT_THAT(refusal("? {a: 1}\n: 2\n"), HasSubstr("key must be plain text"));
  EXPECT_THAT(refusal("~: 2\n"), HasSubstr("key must be plain text"));
}

TEST(YamlTree, RefusesWhatIsNoMap) {
  EXPECT_THAT(refusal(""), HasSubstr("got nothing"));
  EXPECT_THAT(refusal("# only a comment\n"), HasSubstr("got nothing"));
  EXPECT_THAT(refusal("- a\n- b\n"), HasSubstr("got a list of 2"));
  EXPECT_THAT(refusal("just text\n"), HasSubstr("got \"just text\""));
}

TEST(YamlTree, RefusesSeveralDocuments) {
  EXPECT_THAT(refusal("a: 1\n---\nb: 2\n"), AllOf(HasSubstr("second document")));
}

TEST(YamlTree, RefusesBrokenSyntaxWithALine) {
  EXPECT_THAT(refusal("a: 1\nb: [1, 2\n"), AllOf(StartsWith("x.yaml:"), HasSubstr("not YAML")));
  EXPECT_THAT(refusal("b: 1\na: \"open\n"), StartsWith("x.yaml:2: not YAML: a quote that is never closed"));
  EXPECT_THAT(refusal("a: 'open\n"), HasSubstr("never closed"));
  // yaml-cpp quotes the first byte of a character: U+FFFD stands for it.
  EXPECT_THAT(refusal("a: \"\\\xE2\x80\xA8\"\n"), HasSubstr("not YAML: unknown escape character: \xEF\xBF\xBD"));
  EXPECT_THAT(refusal("a: 'it''s open\n"), HasSubstr("never closed"));
  EXPECT_THAT(refusal("a: 'open''"), HasSubstr("not YAML"));
  EXPECT_THAT(refusal("a: \"open\\\""), HasSubstr("not YAML"));
  EXPECT_THAT(refusal("a: [1, 2"), HasSubstr("not YAML"));
}

TEST(YamlTree, RefusesBytesThatAreNoText) {
  EXPECT_THAT(refusal("a: 1\nb: \xC3\x28\n"), StartsWith("x.yaml:2: not UTF-8"));
  EXPECT_THAT(refusal(std::string("a: \0 1\n", 7)), HasSubstr("0x00"));
  EXPECT_THAT(refusal("\xFF\xFE"
                      "a\0:\0 \x31\0"),
              HasSubstr("not UTF-8"));
}

TEST(YamlTree, RefusesDeepNesting) {
  const auto nested = [](int depth) { return "a: " + std::string(depth, '[') + std::string(depth, ']') + "\n"; };
  EXPECT_EQ(refusal(nested(yaml_max_depth - 1)), "accepted");
  EXPECT_THAT(refusal(nested(yaml_max_depth)), HasSubstr("nesting deeper than 32"));
  EXPECT_THAT(refusal("a: " + std::string(100000, '[')), testing::Not("accepted"));
  EXPECT_THAT(refusal("a: " + std::string(100000, '{')), testing::Not("accepted"));
}

TEST(YamlTree, RefusesTenMegabytesBeforeReadingThem) {
  test::TemporaryFolder folder;
  const auto file = folder.path() / "big.yaml";
  std::ofstream out(file);
  for (int i = 0; i < 1'000'000; ++i) {
    out << "k" << 1'000'000 + i << ": 1\n";
  }
  out.close();
  ASSERT_GT(std::filesystem::file_size(file), 10'000'000U);
  try {
    read_yaml(file);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(StartsWith(file.string()), HasSubstr("at most 1048576 are read")));
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
  }
}

TEST(YamlTree, SaysWhenThereIsNoFile) {
  test::TemporaryFolder folder;
  EXPECT_THROW(read_yaml(folder.path() / "none.yaml"), ConfigError);
  EXPECT_THROW(read_yaml(folder.path()), ConfigError);
}

TEST(YamlOverride, ReplacesAndMakesValues) {
  YamlNode root = parse_yaml("a: {b: 1}\nl:\n  - {n: x}\n  - {n: y}\n", "x.yaml");
  apply_override(root, "a.b=2");
  apply_override(root, "l[1].n=z=w");
  apply_override(root, "new.deep.key=[1, 2]");
  EXPECT_EQ(find_at(root, "a.b")->text, "2");
  EXPECT_EQ(find_at(root, "a.b")->where(), "--set a.b=2");
  EXPECT_EQ(find_at(root, "l[1].n")->text, "z=w");
  EXPECT_EQ(find_at(root, "l[0].n")->text, "x");
  EXPECT_EQ(find_at(root, "new.deep.key")->items.size(), 2U);
}

TEST(YamlOverride, RefusesWhatItCannotPlace) {
  const auto refused = [](const std::string& assignment) -> std::string {
    YamlNode root = parse_yaml("a: {b: 1}\nl:\n  - {n: x}\n", "x.yaml");
    try {
      apply_override(root, assignment);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refused("a.b"), AllOf(StartsWith("--set a.b"), HasSubstr("no \"=\"")));
  EXPECT_THAT(refused("=1"), HasSubstr("no key path"));
  EXPECT_THAT(refused("a..b=1"), HasSubstr("no key path"));
  EXPECT_THAT(refused("l[x].n=1"), HasSubstr("no key path"));
  EXPECT_THAT(refused("l[-1].n=1"), HasSubstr("no key path"));
  EXPECT_THAT(refused("l[1].n=1"), AllOf(StartsWith("--set l[1].n=1"), HasSubstr("a list of 1")));
  EXPECT_THAT(refused("a[0]=1"), HasSubstr("no element 0"));
  EXPECT_THAT(refused("a.b.c=1"), HasSubstr("\"c\" is a key, but there is \"1\" here"));
  EXPECT_THAT(refused("a.b=[1"), HasSubstr("never closed"));
  EXPECT_THAT(refused("a.b=\"1"), HasSubstr("not YAML"));
  EXPECT_THAT(refused("a.b=\t1"), HasSubstr("a tab"));
  EXPECT_THAT(refused("a.b=*x"), testing::Not("accepted"));
  EXPECT_THAT(refused(std::string(200, 'a') + "=1"), "accepted");
}

}  // namespace
}  // namespace soup
