// configs/README.md lists every key, with the code's own default and range.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <map>

#include "core/atomic_file.hpp"
#include "core/text.hpp"
#include "experiments/experiment_keys.hpp"
#include "experiments/yaml_writer.hpp"

namespace soup {
namespace {

struct Documented {
  std::string default_value;
  std::string range;

  bool operator==(const Documented&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Documented& row) {
  return out << "default " << row.default_value << ", range " << row.range;
}

// Lists keys with their defaults and ranges as the table spells them.
class KeyLister : public Keys {
 public:
  KeyLister(std::map<std::string, Documented>& rows, std::string prefix) : rows_(rows), prefix_(std::move(prefix)) {}

  [[nodiscard]] bool reading() const override { return true; }
  void seed(std::string_view key, std::uint64_t& value) override {
    add(key, std::to_string(value), "0 to 18446744073709551615");
  }
  void number(std::string_view key, double& value, NumberRange range) override {
    add(key, yaml_number(value), range.text());
  }
  void optional_number(std::string_view key, std::optional<double>& value, NumberRange range) override {
    add(key, value ? yaml_number(*value) : "none", range.text());
  }
  void truth(std::string_view key, bool& value) override { add(key, value ? "true" : "false", "true, false"); }
  void text(std::string_view key, std::string& value, Need need) override {
    add(key, need == Need::required ? "required" : value.empty() ? "none" : value, "text");
  }
  void word(std::string_view key, std::string& value, std::span<const std::string_view> choices) override {
    add(key, value, fmt::format("{}", fmt::join(choices, ", ")));
  }
  void path(std::string_view key, std::filesystem::path& value, Need need) override {
    add(key, need == Need::required ? "required" : value.empty() ? "none" : value.native(), "path");
  }
  void whole_list(std::string_view key, std::vector<std::int64_t>& values, WholeRange range) override {
    add(key, fmt::format("[{}]", fmt::join(values, ", ")), "list of " + range.text());
  }
  void text_list(std::string_view key, std::vector<std::string>& values) override {
    add(key, fmt::format("[{}]", fmt::join(values, ", ")), "list of text");
  }
  void word_list(std::string_view key, std::vector<std::string>& values,
                 std::span<const std::string_view> choices) override {
    add(key, fmt::format("[{}]", fmt::join(values, ", ")), fmt::format("list of {}", fmt::join(choices, ", ")));
  }
  void section(std::string_view key, const std::function<void(Keys&)>& body) override {
    KeyLister inner(rows_, prefix_ + std::string(key) + ".");
    body(inner);
  }
  void optional_section(std::string_view key, bool&, const std::function<void(Keys&)>& body) override {
    section(key, body);
  }
  void list(std::string_view key, std::size_t, const std::function<void(std::size_t)>& resize,
            const std::function<void(Keys&, std::size_t)>& body) override {
    resize(1);
    KeyLister inner(rows_, prefix_ + std::string(key) + "[].");
    body(inner, 0);
  }

 protected:
  void visit_whole(std::string_view key, std::int64_t& value, WholeRange range) override {
    add(key, std::to_string(value), range.text());
  }

 private:
  void add(std::string_view key, std::string default_value, std::string range) {
    rows_[prefix_ + std::string(key)] = {std::move(default_value), std::move(range)};
  }

  std::map<std::string, Documented>& rows_;
  std::string prefix_;
};

std::map<std::string, Documented> keys_of_the_code() {
  std::map<std::string, Documented> rows;
  Experiment experiment;
  KeyLister lister(rows, "");
  describe(lister, experiment);
  // Required, or following from other keys when left out.
  rows["schema"].default_value = "required";
  rows["run_folder"].default_value = "runs/<name>";
  rows["data.shards[].icon_theme.root"].default_value = "found";
  rows["data.shards[].icon_theme.style"].default_value = "the theme's name";
  for (const char* key : {"sample_size", "in_channels", "out_channels", "cross_attention_dim"}) {
    rows[std::string("base.architecture.unet.") + key].default_value = "follows";
  }
  return rows;
}

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" `");
  return begin == std::string_view::npos ? ""
                                         : std::string(text.substr(begin, text.find_last_not_of(" `") - begin + 1));
}

// Rows of the form | `key` | meaning | unit | default | range |.
std::map<std::string, Documented> keys_of_the_readme() {
  std::map<std::string, Documented> rows;
  for (const std::string& line : split(read_file(std::filesystem::path(SOUP_SOURCE_DIR) / "configs/README.md"), '\n')) {
    const std::vector<std::string> cells = split(line, '|');
    if (line.starts_with("| `") && cells.size() == 7) {
      const auto [row, is_new] = rows.emplace(trimmed(cells[1]), Documented{trimmed(cells[4]), trimmed(cells[5])});
      EXPECT_TRUE(is_new) << row->first << " is listed twice";
      EXPECT_FALSE(trimmed(cells[2]).empty()) << row->first << " has no meaning";
    }
  }
  return rows;
}

TEST(Documentation, ListsEveryKeyWithTheCodesDefaultAndRange) {
  std::map<std::string, Documented> code = keys_of_the_code();
  const std::map<std::string, Documented> readme = keys_of_the_readme();
  // The README describes shards and trainings once; the base's must be as it says.
  const auto stands_for = [](std::string key) -> std::string {
    for (const auto& [base, other] :
         {std::pair<std::string, std::string>{"base.shards[].", "data.shards[]."}, {"base.train.", "ingredients."}}) {
      if (key.starts_with(base)) {
        return other + key.substr(base.size());
      }
    }
    return key;
  };
  for (const auto& [key, row] : code) {
    const std::string documented = readme.contains(key) ? key : stands_for(key);
    const auto found = readme.find(documented);
    if (found == readme.end()) {
      ADD_FAILURE() << key << " is not in configs/README.md; " << row;
      continue;
    }
    const bool root_or_style = key.ends_with(".root") || key.ends_with(".style");
    EXPECT_TRUE(found->second == row || (documented != key && root_or_style))
        << key << "\n  code:   " << row << "\n  readme: " << found->second;
  }
  for (const auto& [key, row] : readme) {
    EXPECT_TRUE(code.contains(key)) << "configs/README.md lists " << key << ", which no experiment has";
  }
}

}  // namespace
}  // namespace soup
