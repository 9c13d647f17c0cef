// `soup diff` as a user meets it: table, JSON, picture, exit codes.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/safetensors.hpp"
#include "tests/support/command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class DiffVerb : public testing::Test {
 protected:
  test::TemporaryFolder folder_;

  void SetUp() override {
    write("base", {3, 4});
    write("a", {4, 4});
    write("b", {3, 6});
    write("c", {2, 4});
    write("long", {1, 2, 3}, 1001);
  }

  // Zeros follow the first weights: among few of them any cosine may be chance.
  void write(const std::string& name, std::vector<float> values, std::size_t count = 1000) {
    values.resize(count);
    const std::vector<TensorSource> tensors{
        {"mid_block.w", DType::f32, {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))}};
    write_safetensors(folder_ / (name + ".safetensors"), tensors, {});
  }

  [[nodiscard]] test::Outcome diff(const std::string& arguments) const {
    return test::run_command("cd " + folder_.path().string() + " && " + SOUP_BINARY_DIR + "/soup diff " + arguments);
  }
};

TEST_F(DiffVerb, PrintsTheTableAndExitsWithZeroInSpiteOfOutliers) {
  const test::Outcome outcome = diff("a.safetensors two=b.safetensors c.safetensors --base base.safetensors");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(
      outcome.text,
      AllOf(HasSubstr("3 models against the base base.safetensors\n"),
            HasSubstr("block      weights       a      two        c\nmid_block     1000  0.2000   0.4000   0.2000\n"),
            HasSubstr("Outliers: 2\n  opposed: a and c in all of model: cosine -1.000\n")));
}

TEST_F(DiffVerb, WritesJsonAndPicture) {
  const test::Outcome outcome =
      diff("a.safetensors b.safetensors --base base.safetensors --json x.json --picture x.png --by tensor --threads 2");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json json = nlohmann::json::parse(read_file(folder_ / "x.json"));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["reference"]["kind"], "base");
  EXPECT_EQ(json["reference"]["path"], "base.safetensors");
  EXPECT_EQ(json["models"][1]["name"], "b");
  EXPECT_THAT(json["all"]["drifts"].get<std::vector<double>>(), ElementsAre(0.2, 0.4));
  EXPECT_THAT(json["parts"][0]["cosines"][0].get<std::vector<double>>(), ElementsAre(1.0, 0.0));
  EXPECT_EQ(json["parts"][0]["blocks"][0]["name"], "mid_block");
  EXPECT_EQ(json["parts"][0]["tensors"][0]["largest"][1]["to"], 6.0);
  EXPECT_TRUE(json["outliers"]["drift"].empty());
  EXPECT_TRUE(read_file(folder_ / "x.png").starts_with("\x89PNG"));
}

TEST_F(DiffVerb, RefusesBadInputAndWritesNothing) {
  const std::size_t before = folder_.entries();
  const test::Outcome alone = diff("a.safetensors --json x.json");
  EXPECT_EQ(alone.code, 2);
  EXPECT_THAT(alone.text, HasSubstr("there is nothing to compare with\n  hint: name a second model, or --base"));
  EXPECT_EQ(diff("").code, 2);
  EXPECT_EQ(diff("a.safetensors b.safetensors --picture x.jpg").code, 2);
  EXPECT_EQ(diff("a.safetensors b.safetensors --by layer").code, 2);
  EXPECT_EQ(diff("a.safetensors b.safetensors --part vae --part unet").code, 2);
  const test::Outcome other = diff("a.safetensors --base long.safetensors --json x.json --picture x.png");
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.text, HasSubstr("tensor mid_block.w has shape [1001] in long and [1000] in a"));
  EXPECT_EQ(diff("a.safetensors none.safetensors").code, 3);
  for (const char* output : {"--json absent/x.json", "--picture absent/x.png", "--json ."}) {
    const test::Outcome unwritable = diff("a.safetensors b.safetensors " + std::string(output));
    EXPECT_EQ(unwritable.code, 3) << output;
    EXPECT_THAT(unwritable.text, AllOf(HasSubstr("written"), Not(HasSubstr("drift")))) << output;
  }
  EXPECT_EQ(folder_.entries(), before);
}

}  // namespace
}  // namespace soup
