// model_index.json: which parts are taken, left out and refused.
#include "trainer/model_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ModelIndexFile : public testing::Test {
 protected:
  ModelIndex read(const json& index) {
    write_file_atomically(folder_.path() / "model_index.json", index.dump());
    return read_model_index(folder_.path());
  }
  std::string refusal(const json& index) {
    try {
      read(index);
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("model_index.json"));
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

// model_index.json of Stable Diffusion 1.5, as published.
const json stable_diffusion = json::parse(R"({
  "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0",
  "feature_extractor": ["transformers", "CLIPImageProcessor"],
  "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
  "scheduler": ["diffusers", "PNDMScheduler"],
  "text_encoder": ["transformers", "CLIPTextModel"],
  "tokenizer": ["transformers", "CLIPTokenizer"],
  "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"]})");

TEST_F(ModelIndexFile, WhatIsWrittenIsRead) {
  for (const bool has_vae : {false, true}) {
    const ModelIndex index = read(model_index_json(has_vae));
    EXPECT_EQ(index.has_vae, has_vae);
    EXPECT_THAT(index.left_out, IsEmpty());
  }
}

TEST_F(ModelIndexFile, StableDiffusionsOwnIsReadAndWhatIsLeftOutIsNamed) {
  const ModelIndex index = read(stable_diffusion);
  EXPECT_TRUE(index.has_vae);
  EXPECT_THAT(index.left_out,
              ElementsAre("feature_extractor (CLIPImageProcessor)", "safety_checker (StableDiffusionSafetyChecker)"));
}

TEST_F(ModelIndexFile, OtherPartsAreRefusedByName) {
  const std::pair<const char*, json> changes[] = {{"unet", {"diffusers", "UNet2DModel"}},
                                                  {"text_encoder", {"transformers", "CLIPTextModelWithProjection"}},
                                                  {"text_encoder", {nullptr, nullptr}},
                                                  {"text_encoder_2", {"transformers", "CLIPTextModelWithProjection"}},
                                                  {"tokenizer", {"transformers", "T5Tokenizer"}},
                                                  {"vae", {"diffusers", "AutoencoderTiny"}},
                                                  {"transformer", {"diffusers", "SD3Transformer2DModel"}},
                                                  {"vae", {"diffusers"}},
                                                  {"unet", "UNet2DConditionModel"}};
  for (const auto& [part, entry] : changes) {
    json index = stable_diffusion;
    index[part] = entry;
    EXPECT_THAT(refusal(index), HasSubstr(part)) << entry;
    if (entry.is_array() && entry.size() == 2 && entry[1].is_string()) {
      EXPECT_THAT(refusal(index), HasSubstr(entry[1].get<std::string>()));
    }
  }
  EXPECT_THAT(refusal(json::array()), HasSubstr("not a JSON object"));
}

TEST_F(ModelIndexFile, AFolderWithoutOneIsNoModel) {
  EXPECT_THROW(read_model_index(folder_.path()), DataError);
}

}  // namespace
}  // namespace soup::test
