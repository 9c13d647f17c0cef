// Where the weights of a part lie: one file, several with an index, half-precision variants.
#include "trainer/weight_places.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup::test {
namespace {

using std::filesystem::path;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class WeightPlaces : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& text = "x") {
    write_file_atomically(folder_.path() / name, text);
  }
  void put_index(const std::string& name, const std::string& map) {
    put(name, R"({"metadata": {"total_size": 1}, "weight_map": )" + map + "}");
  }
  std::vector<std::string> found() {
    std::vector<std::string> names;
    for (const path& file : find_weights(folder_.path(), "model")) {
      EXPECT_EQ(file.parent_path(), folder_.path());
      names.push_back(file.filename().string());
    }
    return names;
  }
  std::string refusal() {
    try {
      found();
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST_F(WeightPlaces, OneFile) {
  put("model.safetensors");
  put("other.safetensors");
  put("model.fp16.safetensors");
  put("model.bin");
  EXPECT_THAT(found(), ElementsAre("model.safetensors"));
}

TEST_F(WeightPlaces, HalfPrecisionWhereThereIsNothingElse) {
  put("model.fp16.safetensors");
  EXPECT_THAT(found(), ElementsAre("model.fp16.safetensors"));
}

TEST_F(WeightPlaces, SeveralFilesWithAnIndex) {
  put("model-00001-of-00002.safetensors");
  put("model-00002-of-00002.safetensors");
  put("model-00003-of-00002.safetensors");  // that the index does not name
  put_index("model.safetensors.index.json", R"({"b": "model-00002-of-00002.safetensors",
      "a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"})");
  EXPECT_THAT(found(), ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
}

TEST_F(WeightPlaces, HalfPrecisionInSeveralFiles) {
  put("model.fp16-00001-of-00001.safetensors");
  put_index("model.safetensors.index.fp16.json", R"({"a": "model.fp16-00001-of-00001.safetensors"})");
  EXPECT_THAT(found(), ElementsAre("model.fp16-00001-of-00001.safetensors"));
}

TEST_F(WeightPlaces, WhatIsMissingIsNamed) {
  EXPECT_THAT(refusal(), HasSubstr((folder_.path() / "model.safetensors").string() + ": does not exist"));
  put("model.bin");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model.bin"), HasSubstr("pickle"), HasSubstr("save_pretrained")));
  put_index("model.safetensors.index.json", R"({"a": "model-00001-of-00001.safetensors"})");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model-00001-of-00001.safetensors"), HasSubstr("does not exist"),
                               HasSubstr("model.safetensors.index.json names it")));
  EXPECT_THROW(find_weights(folder_.path() / "unet", "model"), DataError);
}

TEST_F(WeightPlaces, TwoFormsAtOnceAreRefused) {
  put("model.safetensors");
  put_index("model.safetensors.index.json", R"({"a": "model.safetensors"})");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model.safetensors"), HasSubstr("model.safetensors.index.json")));
}

TEST_F(WeightPlaces, BrokenIndexes) {
  put("model.safetensors.index.json", "{");
  EXPECT_THAT(refusal(), HasSubstr("is not JSON"));
  for (const char* map : {"{}", "[]", R"({"a": 1})", R"({"a": "../outside.safetensors"})", R"({"a": ""})",
                          R"({"a": "/etc/passwd"})", R"({"a": ".."})"}) {
    put_index("model.safetensors.index.json", map);
    EXPECT_THAT(refusal(), AllOf(HasSubstr("model.safetensors.index.json"), HasSubstr("weight_map"))) << map;
  }
}

}  // namespace
}  // namespace soup::test
