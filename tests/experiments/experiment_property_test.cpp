// Random experiments survive writing and reading; mutated YAML files never do worse than a ConfigError.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/experiment.hpp"
#include "experiments/experiment_keys.hpp"
#include "experiments/yaml_parser.hpp"
#include "experiments/yaml_reader.hpp"
#include "experiments/yaml_writer.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using Generator = std::mt19937_64;

// Sets every key to a random value of its range.
class RandomValues : public Keys {
 public:
  explicit RandomValues(Generator& generator) : generator_(generator) {}

  [[nodiscard]] bool reading() const override { return true; }
  void seed(std::string_view, std::uint64_t& value) override { value = generator_(); }
  void number(std::string_view, double& value, NumberRange range) override {
    const double most = std::isinf(range.most) ? range.least + 1e9 : range.most;
    do {
      value = std::uniform_real_distribution(range.least, most)(generator_);
    } while (!range.contains(value));
  }
  void optional_number(std::string_view key, std::optional<double>& value, NumberRange range) override {
    value.reset();
    if (coin()) {
      number(key, value.emplace(), range);
    }
  }
  void truth(std::string_view, bool& value) override { value = coin(); }
  void text(std::string_view, std::string& value, Need) override { value = random_text(); }
  void word(std::string_view, std::string& value, std::span<const std::string_view> choices) override {
    value = choices[generator_() % choices.size()];
  }
  void path(std::string_view, std::filesystem::path& value, Need need) override {
    value = need == Need::required || coin() ? "p/" + random_text() : std::string();
  }
  void whole_list(std::string_view key, std::vector<std::int64_t>& values, WholeRange range) override {
    values.resize(generator_() % 4);
    for (std::int64_t& value : values) {
      visit_whole(key, value, range);
    }
  }
  void text_list(std::string_view, std::vector<std::string>& values) override {
    values.resize(generator_() % 4);
    for (std::string& value : values) {
      value = random_text();
    }
  }
  void word_list(std::string_view key, std::vector<std::string>& values,
                 std::span<const std::string_view> choices) override {
    values.resize(generator_() % 4);
    for (std::string& value : values) {
      word(key, value, choices);
    }
  }
  void section(std::string_view, const std::function<void(Keys&)>& body) override { body(*this); }
  void optional_section(std::string_view key, bool& present, const std::function<void(Keys&)>& body) override {
    present = key == "icon_theme" || coin();  // a shard has at least one source
    if (present) {
      body(*this);
    }
  }
  void list(std::string_view, std::size_t, const std::function<void(std::size_t)>& resize,
            const std::function<void(Keys&, std::size_t)>& body) override {
    const std::size_t size = generator_() % 4;
    resize(size);
    for (std::size_t i = 0; i < size; ++i) {
      body(*this, i);
    }
  }

 protected:
  void visit_whole(std::string_view, std::int64_t& value, WholeRange range) override {
    value = std::uniform_int_distribution(range.least, range.most)(generator_);
  }

 private:
  bool coin() { return generator_() % 2 == 0; }
  // Not empty, and full of what YAML gives a meaning to.
  std::string random_text() {
    static const std::vector<std::string> pieces = {
        "a",    "Z",    "0",    "1", " ", ":", "#", "-", "'", "\"", "\\", "{",        "]",
        ",",    "&",    "*",    "!", "|", ">", "%", "@", "~", "\n", "\t", "\xC3\xA4", "\xF0\x9F\x8D\xB2",
        "true", "null", "\x01", "?"};
    std::string text;
    for (std::size_t length = 1 + generator_() % 8; length > 0; --length) {
      text += pieces[generator_() % pieces.size()];
    }
    return text;
  }

  Generator& generator_;
};

TEST(ExperimentProperty, AnyExperimentReadsBackFromItsText) {
  Generator generator(1);
  for (int round = 0; round < 500; ++round) {
    Experiment experiment;
    RandomValues random(generator);
    describe(random, experiment);
    const auto describe_it = [](Experiment& e) { return [&e](Keys& keys) { describe(keys, e); }; };
    const std::string text = write_keys(describe_it(experiment), {});
    Experiment back;
    ASSERT_NO_THROW(read_keys(parse_yaml(text, "x.yaml"), describe_it(back), [](const std::filesystem::path& path) {
      return path;
    })) << text;
    ASSERT_EQ(write_keys(describe_it(back), {}), text);
  }
}

std::string mutated(std::string text, Generator& generator) {
  static const std::vector<std::string> pieces = {":",
                                                  " ",
                                                  "\n",
                                                  "-",
                                                  "- ",
                                                  "{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  ",",
                                                  "#",
                                                  "&a ",
                                                  "*a",
                                                  "!!x ",
                                                  "|",
                                                  ">",
                                                  "'",
                                                  "\"",
                                                  "\\",
                                                  "?",
                                                  "~",
                                                  "\t",
                                                  "\r",
                                                  "%",
                                                  "---\n",
                                                  "...\n",
                                                  "<<: ",
                                                  "999999999999999999999",
                                                  "-1",
                                                  "1e999",
                                                  ".nan",
                                                  "null",
                                                  "true",
                                                  "\xFF",
                                                  "\xC3\xA4",
                                                  std::string(1, '\0'),
                                                  std::string(64, '['),
                                                  "schema: 1\n",
                                                  "  "};
  const std::size_t changes = 1 + generator() % 6;
  for (std::size_t i = 0; i < changes; ++i) {
    const std::size_t at = generator() % (text.size() + 1);
    const std::size_t length = std::min<std::size_t>(generator() % 24, text.size() - at);
    switch (generator() % 5) {
      case 0:
        text.insert(at, pieces[generator() % pieces.size()]);
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(generator() % (text.size() + 1), text.substr(at, length));
        break;
      case 3:
        text.replace(at, length, pieces[generator() % pieces.size()]);
        break;
      default:
        if (at < text.size()) {
          text[at] = static_cast<char>(generator());
        }
    }
  }
  return text;
}

TEST(ExperimentProperty, MutatedFilesAreReadOrRefused) {
  test::TemporaryFolder folder;
  std::vector<std::string> originals = {test::small_yaml};
  for (const char* name : {"quickstart", "base-icons", "smoke"}) {
    const auto file = std::filesystem::path(SOUP_SOURCE_DIR) / "configs" / (std::string(name) + ".yaml");
    originals.push_back(read_file(file));
  }
  Generator generator(2);
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::string text = mutated(originals[generator() % originals.size()], generator);
    try {
      const Experiment experiment = test::load(folder.path(), text);
      ++accepted;
      // What is accepted must be whole: it has a canonical text that is accepted too.
      const std::string canonical = to_yaml(experiment);
      ASSERT_EQ(to_yaml(test::load(folder.path(), canonical)), canonical) << text;
    } catch (const ConfigError&) {
      ++refused;
    }
  }
  // The mutations must exercise both outcomes.
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 1000);
}

TEST(ExperimentProperty, MutatedOverridesAreAppliedOrRefused) {
  test::TemporaryFolder folder;
  const std::vector<std::string> originals = {"data.shards[1].weight=2", "seed=3", "ingredients={images: 32}",
                                              "base.architecture.unet.block_out_channels=[16, 32]"};
  Generator generator(3);
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    const std::string assignment = mutated(originals[generator() % originals.size()], generator);
    try {
      test::load(folder.path(), test::small_yaml, {assignment});
    } catch (const ConfigError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 1500);
}

}  // namespace
}  // namespace soup
