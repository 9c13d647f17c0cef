// Drift and cosines of weights whose answer is worked out by hand.
#include "experiments/drift.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

class DriftOfModels : public testing::Test {
 protected:
  std::filesystem::path model(const std::string& name, const std::vector<float>& a, const std::vector<float>& b) {
    const std::filesystem::path path = folder.path() / name;
    std::filesystem::create_directories(path / "unet");
    const std::vector<TensorSource> tensors = {
        {"a", DType::f32, {static_cast<std::int64_t>(a.size())}, std::as_bytes(std::span(a))},
        {"b", DType::f32, {static_cast<std::int64_t>(b.size())}, std::as_bytes(std::span(b))}};
    write_safetensors(path / "unet" / "diffusion_pytorch_model.safetensors", tensors, {});
    return path;
  }
  test::TemporaryFolder folder;
};

TEST_F(DriftOfModels, IsTheHandWorkedNumber) {
  const auto base = model("base", {3, 0}, {0, 4});                                     // norm 5
  const Drift drift = measure_drift(base, {{"right", model("right", {4, 0}, {0, 4})},  // moved (1, 0, 0, 0)
                                           {"up", model("up", {3, 0}, {2, 4})},        // moved (0, 0, 2, 0)
                                           {"both", model("both", {4, 0}, {1, 4})},    // moved (1, 0, 1, 0)
                                           {"back", model("back", {2, 0}, {0, 4})},    // moved (-1, 0, 0, 0)
                                           {"still", model("still", {3, 0}, {0, 4})}});
  EXPECT_DOUBLE_EQ(drift.relative[0], 0.2);
  EXPECT_DOUBLE_EQ(drift.relative[1], 0.4);
  EXPECT_DOUBLE_EQ(drift.relative[4], 0.0);
  EXPECT_DOUBLE_EQ(drift.cosines[0][1], 0.0);
  EXPECT_DOUBLE_EQ(drift.cosines[0][2], std::sqrt(0.5));
  EXPECT_DOUBLE_EQ(drift.cosines[2][0], std::sqrt(0.5));
  EXPECT_DOUBLE_EQ(drift.cosines[0][3], -1.0);
  EXPECT_TRUE(std::isnan(drift.cosines[0][4]));

  write_drift(folder.path() / "drift.json", drift);
  const Drift read = read_drift(folder.path() / "drift.json");
  EXPECT_EQ(read.models, drift.models);
  EXPECT_EQ(read.relative, drift.relative);
  EXPECT_EQ(read.cosines[0][2], drift.cosines[0][2]);
  EXPECT_TRUE(std::isnan(read.cosines[0][4]));
}

TEST_F(DriftOfModels, RefusesModelsOfAnotherShape) {
  const auto base = model("base", {3, 0}, {0, 4});
  EXPECT_THROW(static_cast<void>(measure_drift(base, {{"other", model("other", {3}, {0, 4})}})), DataError);
  EXPECT_THROW(static_cast<void>(measure_drift(base, {{"absent", folder.path() / "absent"}})), DataError);
}

TEST_F(DriftOfModels, RecordThatIsNoneIsRefused) {
  for (const char* content : {"", "{}", "{\"models\":[\"a\"],\"relative\":[],\"cosines\":[]}"}) {
    write_file_atomically(folder.path() / "drift.json", content);
    EXPECT_THROW(static_cast<void>(read_drift(folder.path() / "drift.json")), DataError) << content;
  }
}

}  // namespace
}  // namespace soup
