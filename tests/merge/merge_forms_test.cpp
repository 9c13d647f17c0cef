// What `soup merge` reads and writes besides plain folders: shards with an index, HDF5, variants, number types,
// one-part folders.
#include <gmock/gmock.h>
#include <hdf5.h>

#include <algorithm>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "merge/edit.hpp"
#include "merge/merge_files.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class MergeForms : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();

  // The same weights for a name in every form.
  static std::vector<TensorSource> tensors_named(const std::string& name, std::vector<std::vector<float>>& values) {
    std::vector<TensorSource> tensors;
    values.clear();
    for (const char* tensor : {"down.weight", "mid.weight", "up.weight"}) {
      values.push_back(test::weights_named(name + tensor, 600));
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      tensors.push_back({std::array{"down.weight", "mid.weight", "up.weight"}[i],
                         DType::f32,
                         {20, 30},
                         std::as_bytes(std::span(values[i]))});
    }
    return tensors;
  }

  MergeInput file_of(const std::string& name, std::int64_t weight = 1) {
    std::vector<std::vector<float>> values;
    const fs::path path = root_ / (name + ".safetensors");
    write_safetensors(path, tensors_named(name, values), {});
    return {name, path, weight};
  }

  // Two files and their index.
  MergeInput shards_of(const std::string& name, std::int64_t weight = 1) {
    std::vector<std::vector<float>> values;
    const std::vector<TensorSource> tensors = tensors_named(name, values);
    const fs::path folder = root_ / (name + "-shards");
    fs::create_directories(folder);
    write_safetensors(folder / "x-00001-of-00002.safetensors", std::span(tensors).subspan(2), {});
    write_safetensors(folder / "x-00002-of-00002.safetensors", std::span(tensors).first(2), {});
    write_json(folder / "x.safetensors.index.json", {{"metadata", {{"total_size", 1}}},
                                                     {"weight_map",
                                                      {{"up.weight", "x-00001-of-00002.safetensors"},
                                                       {"mid.weight", "x-00002-of-00002.safetensors"},
                                                       {"down.weight", "x-00002-of-00002.safetensors"}}}});
    return {name, folder / "x.safetensors.index.json", weight};
  }

  MergeInput hdf5_of(const std::string& name, std::int64_t weight = 1) {
    std::vector<std::vector<float>> values;
    const fs::path path = root_ / (name + ".h5");
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    for (const TensorSource& tensor : tensors_named(name, values)) {
      const std::array<hsize_t, 2> extent{20, 30};
      const hid_t space = H5Screate_simple(2, extent.data(), nullptr);
      const hid_t set =
          H5Dcreate2(file, tensor.name.c_str(), H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
      EXPECT_GE(H5Dwrite(set, H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.bytes.data()), 0);
      H5Dclose(set);
      H5Sclose(space);
    }
    H5Fclose(file);
    return {name, path, weight};
  }

  Digest digest_of(const fs::path& path) { return weights_digest(Weights::open(path)); }

  std::string refusal(const std::vector<MergeInput>& inputs, const fs::path& output, const MergeOptions& options = {}) {
    const bool existed = fs::exists(output);
    try {
      merge(inputs, output, options);
    } catch (const Error& error) {
      EXPECT_EQ(fs::exists(output), existed);
      return error.what();
    }
    return "";
  }
};

TEST_F(MergeForms, FilesShardsAndHdf5GiveTheSameSoup) {
  merge({file_of("a"), file_of("b", 2)}, root_ / "of-files.safetensors");
  merge({shards_of("a"), shards_of("b", 2)}, root_ / "of-shards.safetensors");
  merge({hdf5_of("a"), file_of("b", 2)}, root_ / "mixed.safetensors");
  const Digest digest = digest_of(root_ / "of-files.safetensors");
  EXPECT_EQ(digest_of(root_ / "of-shards.safetensors"), digest);
  EXPECT_EQ(digest_of(root_ / "mixed.safetensors"), digest);
}

TEST_F(MergeForms, AFolderOfShardsIsWrittenWithItsIndexAndCanBeChanged) {
  MergeOptions options;
  options.shard_bytes = 4800;  // two tensors of 2400 bytes
  const Ledger ledger = merge({file_of("a"), file_of("b")}, root_ / "soup", options);
  EXPECT_EQ(ledger.ingredients[0].path, "../a.safetensors");
  EXPECT_TRUE(fs::exists(root_ / "soup/model-00001-of-00002.safetensors"));
  EXPECT_EQ(Weights::open(root_ / "soup/model-00002-of-00002.safetensors").tensors().size(), 1u);
  EXPECT_EQ(read_json(root_ / "soup/model.safetensors.index.json").at("metadata").at("total_size"), 7200);
  merge({file_of("a"), file_of("b")}, root_ / "plain.safetensors");
  EXPECT_EQ(digest_of(root_ / "soup/model.safetensors.index.json"), digest_of(root_ / "plain.safetensors"));

  const Ledger three = add_ingredient(root_ / "soup", file_of("c", 2));
  EXPECT_EQ(three.soup_digest(), merge({file_of("a"), file_of("c", 2), file_of("b")}, root_ / "scratch").soup_digest());
  EXPECT_TRUE(fs::exists(root_ / "soup/model-00002-of-00002.safetensors")) << "the soup keeps its files";
  remove_ingredient(root_ / "soup", "c");
  EXPECT_EQ(digest_of(root_ / "soup/model.safetensors.index.json"), digest_of(root_ / "plain.safetensors"));
}

TEST_F(MergeForms, EveryAccumulatorAllowsEveryChange) {
  merge({file_of("a"), file_of("c")}, root_ / "expected");
  for (const AccumulatorKind kind : {AccumulatorKind::none, AccumulatorKind::compact, AccumulatorKind::wide}) {
    MergeOptions options;
    options.accumulator = kind;
    const fs::path soup = root_ / std::string(name_of(kind));
    EXPECT_EQ(merge({file_of("a"), file_of("b")}, soup, options).accumulator.kind, kind);
    EXPECT_EQ(fs::exists(soup / "accumulator"), kind != AccumulatorKind::none);
    add_ingredient(soup, file_of("c"));
    const Ledger ledger = remove_ingredient(soup, "b").ledger;
    EXPECT_EQ(ledger.accumulator.kind, kind);
    EXPECT_EQ(content_digest(ledger), content_digest(read_ledger(root_ / "expected")));
  }
}

TEST_F(MergeForms, ALargeTotalWeightKeepsWideSums) {
  EXPECT_EQ(merge({file_of("a", 100), file_of("b", 29)}, root_ / "soup").accumulator.kind, AccumulatorKind::wide);
  EXPECT_EQ(Weights::open(root_ / "soup/accumulator/model.safetensors").tensors()[0].dtype, DType::i64);
}

TEST_F(MergeForms, NumberTypesAreChosenAndMustHoldTheWeights) {
  const std::vector<MergeInput> inputs{file_of("a"), file_of("b")};
  for (const DType dtype : {DType::f64, DType::f16, DType::bf16}) {
    MergeOptions options;
    options.dtype = dtype;
    const fs::path output = root_ / (std::string(name_of(dtype)) + ".safetensors");
    EXPECT_EQ(merge(inputs, output, options).dtype, name_of(dtype));
    EXPECT_EQ(Weights::open(output).tensors()[0].dtype, dtype);
  }
  const std::vector<float> large{1.0F, 65519.0F, 65520.0F};
  for (std::size_t count : {2u, 3u}) {
    const std::vector<TensorSource> tensors{
        {"w", DType::f32, {static_cast<std::int64_t>(count)}, std::as_bytes(std::span(large).first(count))}};
    write_safetensors(root_ / "large.safetensors", tensors, {});
    MergeOptions options;
    options.dtype = DType::f16;
    const fs::path output = root_ / ("large" + std::to_string(count) + ".half.safetensors");
    const std::string message = refusal({{"large", root_ / "large.safetensors"}}, output, options);
    if (count == 2) {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_THAT(message, AllOf(HasSubstr("w:"), HasSubstr("65520 does not fit F16")));
    }
  }
}

TEST_F(MergeForms, AFolderWithWeightsAndConfigIsAModel) {
  std::vector<MergeInput> inputs;
  for (const std::string name : {"a", "b"}) {
    const fs::path folder = root_ / "hub" / name;
    fs::create_directories(folder);
    fs::copy_file(file_of(name).path, folder / "model.safetensors");
    write_json(folder / "config.json", {{"hidden", 3}, {"_name_or_path", "/home/" + name}});
    write_file_atomically(folder / "README.md", "of " + name);
    inputs.push_back({name, folder});
  }
  merge(inputs, root_ / "soup");
  EXPECT_EQ(digest_of(root_ / "soup/model.safetensors"),
            merge({file_of("a"), file_of("b")}, root_ / "f.safetensors").parts.at("model"));
  EXPECT_TRUE(fs::exists(root_ / "soup/config.json"));
  EXPECT_FALSE(fs::exists(root_ / "soup/README.md"));
  write_json(root_ / "hub/b/config.json", {{"hidden", 4}});
  EXPECT_THAT(refusal(inputs, root_ / "again"), HasSubstr("/hidden"));
}

TEST_F(MergeForms, VariantsAreChosenByName) {
  std::vector<MergeInput> inputs;
  for (const std::string name : {"a", "b"}) {
    MergeInput input = test::make_ingredient(root_, name, 1, {.with_record = false});
    test::Flaws half{.with_record = false, .dtype = DType::f16};
    const MergeInput other = test::make_ingredient(root_ / "half", name, 1, half);
    fs::copy_file(other.path / test::unet_file, input.path / "unet/diffusion_pytorch_model.fp16.safetensors");
    inputs.push_back(input);
  }
  const Ledger plain = merge(inputs, root_ / "plain");
  EXPECT_EQ(Weights::open(root_ / "plain" / test::unet_file).tensors().size(), 3u);
  EXPECT_FALSE(fs::exists(root_ / "plain/unet/diffusion_pytorch_model.fp16.safetensors"));
  MergeOptions half;
  half.variant = "fp16";
  half.dtype.reset();
  const Ledger chosen = merge(inputs, root_ / "chosen", half);
  EXPECT_EQ(Weights::open(root_ / "chosen" / test::unet_file).tensors()[0].dtype, DType::f16)
      << "written without the variant's name";
  EXPECT_NE(plain.parts.at("unet"), chosen.parts.at("unet"));
  for (const MergeInput& input : inputs) {
    fs::rename(input.path / test::unet_file, input.path / "unet/diffusion_pytorch_model.fp32.safetensors");
  }
  EXPECT_THAT(refusal(inputs, root_ / "unclear"), AllOf(HasSubstr("2 variants"), HasSubstr("--variant")));
}

TEST_F(MergeForms, OutputsAreNeverReplacedUnasked) {
  const std::vector<MergeInput> inputs{file_of("a"), file_of("b")};
  write_file_atomically(root_ / "mine.safetensors", "precious");
  EXPECT_THAT(refusal(inputs, root_ / "mine.safetensors"),
              AllOf(HasSubstr("exists already"), HasSubstr("--overwrite")));
  EXPECT_EQ(read_file(root_ / "mine.safetensors"), "precious");
  MergeOptions options;
  options.work.overwrite = true;
  EXPECT_THAT(refusal(inputs, inputs[0].path, options), HasSubstr("is also an input"));
  EXPECT_THAT(refusal(inputs, root_, options), HasSubstr("contains one"));
  merge(inputs, root_ / "mine.safetensors", options);
  EXPECT_NE(read_file(root_ / "mine.safetensors"), "precious");
}

TEST_F(MergeForms, WhatCannotBeOneFileOrHaveNoLedgerIsRefused) {
  const std::vector<MergeInput> folders{test::make_ingredient(root_, "f"), test::make_ingredient(root_, "g")};
  EXPECT_THAT(refusal(folders, root_ / "soup.safetensors"), HasSubstr("several parts"));
  MergeOptions options;
  options.work.digests = false;
  EXPECT_THAT(refusal(folders, root_ / "soup", options), HasSubstr("needs digests"));
  merge({file_of("a"), file_of("b")}, root_ / "quick.safetensors", options);
  const Weights quick = Weights::open(root_ / "quick.safetensors");
  EXPECT_THAT(quick.metadata(), ElementsAre(testing::Pair("format", "pt")));
  merge({file_of("a"), file_of("b")}, root_ / "full.safetensors");
  EXPECT_EQ(weights_digest(quick), digest_of(root_ / "full.safetensors"));
  options.work.digests = true;
  options.shard_bytes = 100;
  EXPECT_THAT(refusal({file_of("a"), file_of("b")}, root_ / "s.safetensors", options), HasSubstr("shards are asked"));
  EXPECT_THAT(refusal({{"p", root_ / "p.ckpt"}}, root_ / "x.safetensors"), HasSubstr("does not exist"));
  write_file_atomically(root_ / "p.ckpt", "pickle");
  EXPECT_THAT(refusal({{"p", root_ / "p.ckpt"}}, root_ / "x.safetensors"), HasSubstr("never pickles"));
}

}  // namespace
}  // namespace soup
