// Differences of models: exact answers, a naive oracle, every input format, broken weights, what is refused.
#include "merge/difference.hpp"

#include <gmock/gmock.h>
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "merge/difference_record.hpp"
#include "merge/float_formats.hpp"
#include "merge/outliers.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

struct Tensor {
  std::string name;
  std::vector<double> values;
  DType dtype = DType::f32;
};

std::vector<std::byte> stored(const Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.values.size() * size_of(tensor.dtype));
  if (tensor.dtype == DType::i64) {
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      const auto value = static_cast<std::int64_t>(tensor.values[i]);
      std::memcpy(bytes.data() + 8 * i, &value, 8);
    }
  } else {
    encode(tensor.values, tensor.dtype, bytes);
  }
  return bytes;
}

std::vector<double> normal(const std::string& name, std::size_t count, DType dtype = DType::f32) {
  const std::vector<float> drawn = test::weights_named(name, count);
  Tensor tensor{name, std::vector<double>(drawn.begin(), drawn.end()), dtype};
  if (dtype == DType::f64) {
    return tensor.values;
  }
  std::vector<float> rounded(count);  // to what the format holds
  decode(dtype, stored(tensor), rounded);
  return {rounded.begin(), rounded.end()};
}

class DifferenceTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();

  DifferenceInput file(const std::string& name, const std::vector<Tensor>& tensors) {
    std::vector<std::vector<std::byte>> bytes;
    std::vector<TensorSource> sources;
    for (const Tensor& tensor : tensors) {
      bytes.push_back(stored(tensor));
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      sources.push_back(
          {tensors[i].name, tensors[i].dtype, {static_cast<std::int64_t>(tensors[i].values.size())}, bytes[i]});
    }
    write_safetensors(root_ / (name + ".safetensors"), sources, {});
    return {name, root_ / (name + ".safetensors")};
  }

  std::string refusal(const std::optional<DifferenceInput>& base, const std::vector<DifferenceInput>& models,
                      const DifferenceOptions& options, ExitCode code) {
    try {
      static_cast<void>(measure_difference(base, models, options));
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    return "no error";
  }
};

TEST_F(DifferenceTest, IsTheHandWorkedNumber) {
  const auto base = file("base", {{"up_blocks.0.a", {3, 0}}, {"mid_block.b", {0, 4}}});
  const Difference difference =
      measure_difference(base, {file("right", {{"up_blocks.0.a", {4, 0}}, {"mid_block.b", {0, 4}}}),
                                file("both", {{"up_blocks.0.a", {4, 0}}, {"mid_block.b", {-2, 4}}}),
                                file("back", {{"up_blocks.0.a", {-1, 0}}, {"mid_block.b", {0, 4}}})});
  ASSERT_EQ(difference.parts.size(), 1u);
  const PartDifference& part = difference.parts.front();
  EXPECT_EQ(part.name, "model");
  ASSERT_EQ(part.tensors.size(), 2u);
  EXPECT_EQ(part.tensors[0].name, "mid_block.b");
  EXPECT_EQ(part.tensors[0].sums.base_norm(), 4.0);
  EXPECT_EQ(part.tensors[0].sums.norm(1), 2.0);
  EXPECT_EQ(part.tensors[0].sums.drift(1), 0.5);
  EXPECT_EQ(part.tensors[0].sums.drift(0), 0.0);
  EXPECT_TRUE(part.tensors[0].changes[0].equal);
  EXPECT_FALSE(part.tensors[0].changes[1].equal);
  EXPECT_EQ(part.tensors[1].changes[2].largest, 4.0);
  EXPECT_EQ(part.tensors[1].changes[2].element, 0u);
  EXPECT_EQ(part.tensors[1].changes[2].from, 3.0);
  EXPECT_EQ(part.tensors[1].changes[2].to, -1.0);

  const std::vector<DifferenceRow> blocks = block_rows(part);
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].block, "mid_block");
  EXPECT_EQ(blocks[1].block, "up_blocks.0");
  const DeltaSums all = total_row(difference).sums;
  EXPECT_EQ(all.elements(), 4u);
  EXPECT_EQ(all.base_norm(), 5.0);
  EXPECT_EQ(all.drift(0), 0.2);
  EXPECT_EQ(all.drift(2), 0.8);
  EXPECT_DOUBLE_EQ(all.cosine(0, 1), std::sqrt(0.2));
  EXPECT_EQ(all.cosine(1, 0), all.cosine(0, 1));
  EXPECT_EQ(all.cosine(0, 2), -1.0);
  EXPECT_TRUE(std::isnan(blocks[0].sums.cosine(0, 1)));
}

TEST_F(DifferenceTest, AgreesWithANaiveSumAndHasTheSameBitsForAnyThreads) {
  // More than a segment, a whole piece and less than a strip; none a multiple of a vector.
  const std::map<std::string, std::size_t> sizes{{"long", (1 << 20) + 16384 + 77}, {"piece", 16384}, {"short", 13}};
  const auto tensors_of = [&](const std::string& model) {
    std::vector<Tensor> tensors;
    for (const auto& [name, size] : sizes) {
      tensors.push_back({name, normal(model + name, size)});
    }
    return tensors;
  };
  const std::vector<std::string> names{"a", "b", "c"};
  std::vector<DifferenceInput> models;
  for (const std::string& name : names) {
    models.push_back(file(name, tensors_of(name)));
  }
  const auto base = file("base", tensors_of("base"));

  std::vector<nlohmann::ordered_json> results;
  for (const int threads : {1, 2, 3}) {
    DifferenceOptions options;
    options.threads = threads;
    const Difference difference = measure_difference(base, models, options);
    results.push_back(difference_json(difference, find_outliers(difference), true));
    if (threads != 2) {
      continue;
    }
    for (const TensorDifference& tensor : difference.parts.front().tensors) {
      const std::vector<double> origin = normal("base" + tensor.name, sizes.at(tensor.name));
      std::vector<std::vector<double>> deltas;
      for (const std::string& name : names) {
        deltas.push_back(normal(name + tensor.name, origin.size()));
        std::ranges::transform(deltas.back(), origin, deltas.back().begin(), std::minus());
      }
      const auto naive = [](const std::vector<double>& x, const std::vector<double>& y) {
        return static_cast<double>(std::inner_product(x.begin(), x.end(), y.begin(), 0.0L));
      };
      for (std::size_t a = 0; a < 3; ++a) {
        const double square = naive(deltas[a], deltas[a]);
        // 2^20 rounded additions in a row err by less than 2^20 2^-53 relative to the sum of magnitudes.
        EXPECT_NEAR(tensor.sums.norm(a), std::sqrt(square), 1e-10 * std::sqrt(square)) << tensor.name;
        for (std::size_t b = 0; b < a; ++b) {
          const double norms = std::sqrt(square * naive(deltas[b], deltas[b]));
          EXPECT_NEAR(tensor.sums.cosine(a, b), naive(deltas[a], deltas[b]) / norms, 1e-10);
        }
        const auto most = std::ranges::max_element(deltas[a], {}, [](double delta) { return std::fabs(delta); });
        EXPECT_EQ(tensor.changes[a].element, static_cast<std::uint64_t>(most - deltas[a].begin()));
        EXPECT_EQ(tensor.changes[a].largest, std::fabs(*most));
      }
    }
  }
  // JSON of doubles is exact.
  EXPECT_EQ(results[0].dump(), results[1].dump());
  EXPECT_EQ(results[0].dump(), results[2].dump());
}

TEST_F(DifferenceTest, ReadsEveryFloatingFormatAndShardsAndHdf5) {
  const auto base = file("base", {{"a", {1, 2, 3, 4}}, {"b", {0, 8}}});
  std::vector<DifferenceInput> models;
  for (const auto& [name, dtype] :
       {std::pair{"f64", DType::f64}, std::pair{"f16", DType::f16}, std::pair{"bf16", DType::bf16}}) {
    models.push_back(file(name, {{"b", {0, 8}, dtype}, {"a", {1, 2, 3, 5}, dtype}}));
  }
  fs::create_directories(root_ / "sharded");
  for (const auto& [number, tensor] : {std::pair{1, Tensor{"a", {1, 2, 3, 5}}}, std::pair{2, Tensor{"b", {0, 8}}}}) {
    const std::vector<std::byte> bytes = stored(tensor);
    const std::vector<TensorSource> source{
        {tensor.name, tensor.dtype, {static_cast<std::int64_t>(tensor.values.size())}, bytes}};
    write_safetensors(root_ / "sharded" / ("model-0000" + std::to_string(number) + "-of-00002.safetensors"), source,
                      {});
  }
  write_file_atomically(root_ / "sharded/model.safetensors.index.json",
                        R"({"metadata": {"total_size": 24}, "weight_map": {"a": "model-00001-of-00002.safetensors",
                            "b": "model-00002-of-00002.safetensors"}})");
  models.push_back({"folder", root_ / "sharded"});
  models.push_back({"index", root_ / "sharded/model.safetensors.index.json"});

  const hid_t h5 = H5Fcreate((root_ / "model.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(h5, 0);
  for (const Tensor& tensor : {Tensor{"a", {1, 2, 3, 5}}, Tensor{"b", {0, 8}}}) {
    const hsize_t extent = tensor.values.size();
    const hid_t space = H5Screate_simple(1, &extent, nullptr);
    const hid_t set = H5Dcreate2(h5, tensor.name.c_str(), H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    ASSERT_GE(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.values.data()), 0);
    H5Dclose(set);
    H5Sclose(space);
  }
  ASSERT_GE(H5Fclose(h5), 0);
  models.push_back({"hdf5", root_ / "model.h5"});

  const Difference difference = measure_difference(base, models);
  for (std::size_t m = 0; m < models.size(); ++m) {
    const TensorDifference& a = difference.parts.front().tensors.front();
    EXPECT_EQ(a.sums.norm(m), 1.0) << models[m].name;
    EXPECT_EQ(a.changes[m].element, 3u) << models[m].name;
    EXPECT_TRUE(difference.parts.front().tensors.back().changes[m].equal) << models[m].name;
  }
}

TEST_F(DifferenceTest, WithoutBaseTwoAreComparedWithEachOtherAndMoreWithTheirMean) {
  const auto a = file("a", {{"x", {0, 3}}});
  const auto b = file("b", {{"x", {3, 3}}});
  const auto c = file("c", {{"x", {-3, 6}}});
  const Difference two = measure_difference(std::nullopt, {a, b});
  EXPECT_EQ(two.reference, Reference::model);
  EXPECT_EQ(two.base.name, "a");
  ASSERT_EQ(two.models.size(), 1u);
  EXPECT_EQ(two.models.front().name, "b");
  EXPECT_EQ(total_row(two).sums.drift(0), 1.0);

  const Difference three = measure_difference(std::nullopt, {a, b, c});  // mean (0, 4)
  EXPECT_EQ(three.reference, Reference::mean);
  const DeltaSums sums = total_row(three).sums;
  EXPECT_EQ(sums.base_norm(), 4.0);
  EXPECT_EQ(sums.norm(0), 1.0);
  EXPECT_EQ(sums.norm(1), std::sqrt(10.0));
  EXPECT_EQ(sums.norm(2), std::sqrt(13.0));
  EXPECT_DOUBLE_EQ(sums.cosine(1, 2), -11.0 / std::sqrt(130.0));

  // 1/3 and its like have no exact thirds: the mean of equal weights must be that weight all the same.
  const std::vector<double> thirds = normal("thirds", 5000, DType::f64);
  const auto same = [&](const std::string& name) { return file(name, {{"x", thirds, DType::f64}}); };
  const Difference equal = measure_difference(std::nullopt, {same("d"), same("e"), same("f")});
  EXPECT_THAT(equal.parts, IsEmpty());
  EXPECT_THAT(equal.equal_parts, ElementsAre("model"));
}

TEST_F(DifferenceTest, WeightsThatAreNotFiniteAreCountedNamedAndLeftOut) {
  const auto base = file("base", {{"x", {3, 4, nan, 0}}, {"y", {1}}});
  const auto broken = file("broken", {{"x", {nan, inf, 5, 2}}, {"y", {1}}});
  const auto sound = file("sound", {{"x", {3, 5, 9, 2}}, {"y", {1}}});
  const Difference difference = measure_difference(base, {broken, sound});
  const TensorDifference& x = difference.parts.front().tensors.front();
  EXPECT_EQ(x.base_not_finite.count, 1u);
  EXPECT_EQ(x.base_not_finite.first, 2u);
  EXPECT_EQ(x.not_finite[0].count, 2u);
  EXPECT_EQ(x.not_finite[0].first, 0u);
  EXPECT_EQ(x.not_finite[1].count, 0u);
  EXPECT_EQ(x.sums.base_norm(), 5.0);
  EXPECT_EQ(x.sums.norm(0), 2.0);
  EXPECT_EQ(x.sums.norm(1), std::sqrt(5.0));
  EXPECT_DOUBLE_EQ(x.sums.cosine(0, 1), 4.0 / (2.0 * std::sqrt(5.0)));
  const Outliers outliers = find_outliers(difference);
  ASSERT_EQ(outliers.broken.size(), 2u);
  EXPECT_EQ(outliers.broken[0].tensor, "x");
  EXPECT_FALSE(outliers.broken[0].model.has_value());
  EXPECT_EQ(outliers.broken[1].model, 0u);

  // Without base: the mean of those that are finite.
  const Difference mean =
      measure_difference(std::nullopt, {broken, sound, file("other", {{"x", {5, 7, 9, 2}}, {"y", {1}}})});
  const TensorDifference& of_mean = mean.parts.front().tensors.front();
  EXPECT_DOUBLE_EQ(of_mean.sums.norm(1), std::sqrt(1.0 + 1.0 + std::pow(4.0 / 3.0, 2)));
  EXPECT_DOUBLE_EQ(of_mean.changes[0].largest, 8.0 / 3.0);

  // A model that is broken and else unmoved is not equal.
  const auto only_broken = measure_difference(file("a", {{"x", {1, 2}}}), {file("b", {{"x", {1, nan}}})});
  ASSERT_EQ(only_broken.parts.size(), 1u);
  EXPECT_FALSE(only_broken.parts.front().tensors.front().changes.front().equal);
}

TEST_F(DifferenceTest, IntegerTensorsAreEqualOrNot) {
  const auto with = [&](const std::string& name, double step) {
    return file(name, {{"steps", {7, step}, DType::i64}, {"w", {1, 1}}});
  };
  const Difference difference = measure_difference(with("base", 1), {with("same", 1), with("other", 2)});
  const TensorDifference& steps = difference.parts.front().tensors.front();
  EXPECT_EQ(steps.sums.elements(), 0u);
  EXPECT_TRUE(steps.changes[0].equal);
  EXPECT_FALSE(steps.changes[1].equal);
  const Outliers outliers = find_outliers(difference);
  ASSERT_EQ(outliers.integers.size(), 1u);
  EXPECT_EQ(outliers.integers[0].model, 1u);
  EXPECT_EQ(outliers.integers[0].tensor, "steps");
}

TEST_F(DifferenceTest, FoldersArePartByPartAndAveragesHaveThePlainBase) {
  const fs::path base = test::make_ingredient(root_, "base").path;
  fs::remove_all(base / "unet_ema");
  fs::create_directories(base / "safety_checker");
  fs::copy_file(base / test::text_file, base / "safety_checker/model.safetensors");
  write_file_atomically(base / "model_index.json", R"({"unet": ["a", "b"], "text_encoder": ["a", "b"],
    "tokenizer": ["a", "b"], "safety_checker": ["a", "b"]})");
  const std::vector<DifferenceInput> models{{"one", test::make_ingredient(root_, "one").path},
                                            {"two", test::make_ingredient(root_, "two").path}};
  const Difference difference = measure_difference(DifferenceInput{"base", base}, models);
  ASSERT_EQ(difference.parts.size(), 2u);
  EXPECT_EQ(difference.parts[0].name, "unet");
  EXPECT_EQ(difference.parts[1].name, "unet_ema");
  EXPECT_EQ(difference.parts[1].base_name, "unet");
  EXPECT_THAT(difference.equal_parts, ElementsAre("text_encoder"));
  EXPECT_THAT(difference.only_base_parts, ElementsAre("safety_checker"));
  EXPECT_EQ(total_row(difference).sums.elements(), 2u * 127u);

  // A weights file stands for the one part asked for.
  DifferenceOptions unet;
  unet.parts = {"unet"};
  const Difference one =
      measure_difference(DifferenceInput{"base", base}, {models[0], {"file", models[1].path / test::unet_file}}, unet);
  ASSERT_EQ(one.parts.size(), 1u);
  EXPECT_EQ(one.parts[0].tensors.back().sums.norm(1), difference.parts[0].tensors.back().sums.norm(1));
  EXPECT_THAT(refusal(DifferenceInput{"base", base}, {models[0], {"file", models[1].path / test::unet_file}}, {},
                      ExitCode::data),
              AllOf(HasSubstr("has the part model, but one has not"), HasSubstr("--part")));
  DifferenceOptions vae;
  vae.parts = {"vae"};
  EXPECT_THAT(refusal(DifferenceInput{"base", base}, models, vae, ExitCode::usage), HasSubstr("there is no part vae"));
  DifferenceOptions two_parts;
  two_parts.parts = {"unet", "text_encoder"};
  fs::remove_all(models[1].path / "text_encoder");
  write_file_atomically(models[1].path / "model_index.json", R"({"unet": ["a", "b"], "tokenizer": ["a", "b"]})");
  EXPECT_THAT(refusal(DifferenceInput{"base", base}, models, two_parts, ExitCode::data),
              AllOf(HasSubstr("no part text_encoder"), HasSubstr("one has")));
}

TEST_F(DifferenceTest, RefusesWhatCannotBeCompared) {
  const auto base = file("base", {{"x", {1, 2}}});
  EXPECT_THAT(refusal(std::nullopt, {base}, {}, ExitCode::usage), HasSubstr("nothing to compare"));
  EXPECT_THAT(refusal(base, {}, {}, ExitCode::usage), HasSubstr("nothing to compare"));
  EXPECT_THAT(refusal(base, {base, base}, {}, ExitCode::usage), HasSubstr("two models are named \"base\""));
  EXPECT_THAT(refusal(base, {file("long", {{"x", {1, 2, 3}}})}, {}, ExitCode::data),
              HasSubstr("tensor x has shape [2] in base and [3] in long"));
  EXPECT_THAT(refusal(base, {file("more", {{"x", {1, 2}}, {"y", {1}}})}, {}, ExitCode::data),
              HasSubstr("tensor y is in more but not in base"));
  EXPECT_THAT(refusal(base, {file("less", {{"y", {1}}})}, {}, ExitCode::data),
              HasSubstr("tensor x is in base but not in less"));
  EXPECT_THAT(refusal(base, {file("whole", {{"x", {1, 2}, DType::i64}})}, {}, ExitCode::data),
              HasSubstr("tensor x is F32 in base and I64 in whole"));
  EXPECT_THAT(refusal(base, {{"none", root_ / "none"}}, {}, ExitCode::data), HasSubstr("does not exist"));
}

TEST_F(DifferenceTest, EmptyTensorsAndScalelessBlocksHaveNoNumbersThatLie) {
  const auto base = file("base", {{"empty", {}}, {"zero.bias", {0, 0}}});
  const Difference difference = measure_difference(base, {file("a", {{"empty", {}}, {"zero.bias", {0, 1}}})});
  ASSERT_EQ(block_rows(difference.parts.front()).size(), 1u);
  const DeltaSums sums = total_row(difference).sums;
  EXPECT_EQ(sums.norm(0), 1.0);
  EXPECT_EQ(sums.drift(0), std::numeric_limits<double>::infinity());
  const auto json = difference_json(difference, find_outliers(difference), true);
  EXPECT_TRUE(json["all"]["drifts"][0].is_null());
  EXPECT_EQ(json["all"]["norms"][0], 1.0);
  EXPECT_EQ(json["parts"][0]["tensors"][1]["largest"][0]["index"], nlohmann::ordered_json::array({1}));
}

TEST_F(DifferenceTest, ProgressEndsAtAllBytes) {
  const auto base = file("base", {{"x", normal("x", 3000)}});
  DifferenceOptions options;
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
  };
  static_cast<void>(measure_difference(base, {file("a", {{"x", normal("a", 3000)}})}, options));
  EXPECT_EQ(last, 24000u);
  EXPECT_EQ(all, 24000u);
}

}  // namespace
}  // namespace soup
