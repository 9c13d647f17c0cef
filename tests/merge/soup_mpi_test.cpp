// The soup from memory over 1 to 4 ranks: the oracle's bits for any distribution, the bits of the file merge, and
// refusals that reach every rank.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "merge/soup.hpp"
#include "merge/soup_folder_writer.hpp"
#include "tests/launch/mpi_main.hpp"
#include "tests/merge/models.hpp"
#include "tests/merge/oracle.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

TensorLayout small_layout(std::int64_t rows = 37) {
  TensorLayout layout;
  layout.append("unet.conv_in.weight", {rows, 5});
  layout.append("unet.empty", {0, 3});
  layout.append("unet.conv_in.bias", {11});
  return layout;
}

constexpr std::size_t small_count = 37 * 5 + 11;

std::vector<SoupIngredient> pantry(const std::vector<std::vector<float>>& weights, std::size_t first,
                                   std::size_t step) {
  std::vector<SoupIngredient> mine;
  for (std::size_t i = first; i < weights.size(); i += step) {
    mine.push_back({"shard" + std::to_string(i), static_cast<std::int64_t>(i + 1), resident(weights[i])});
  }
  return mine;
}

class SoupMpi : public testing::Test {
 protected:
  Communicator& comm_ = test::world();
  TensorLayout layout_ = small_layout();
  Digest base_ = sha256("base");
  std::vector<std::vector<float>> weights_;

  void SetUp() override {
    for (int i = 0; i < 5; ++i) {
      weights_.push_back(test::weights_named("shard" + std::to_string(i), small_count));
    }
  }
  [[nodiscard]] std::vector<float> expected() const {
    std::vector<test::OracleTerm> terms;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      terms.push_back({weights_[i], static_cast<std::int64_t>(i + 1)});
    }
    return test::oracle_soup(terms, 44);
  }
  [[nodiscard]] std::size_t rank() const { return static_cast<std::size_t>(comm_.rank()); }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(comm_.size()); }

  // The error that making this soup gives on this rank.
  std::string refusal(const TensorLayout& layout, const Digest& base, const std::vector<SoupIngredient>& mine) {
    try {
      make_soup(comm_, layout, base, mine);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(SoupMpi, DealtInWavesAndInBucketsOfAnySize) {
  for (const std::size_t bucket : {1u, 7u, 64u, 100000u}) {
    const ResidentSoup soup =
        make_soup(comm_, layout_, base_, pantry(weights_, rank(), size()), {.bucket_elements = bucket});
    EXPECT_EQ(soup.weights, expected()) << "buckets of " << bucket;
    EXPECT_EQ(soup.totals.total_weight, 15);
    ASSERT_EQ(soup.totals.ingredients.size(), 5u);
    EXPECT_EQ(soup.totals.ingredients[3].name, "shard3");
    EXPECT_EQ(soup.totals.ingredients[3].weight, 4);
    EXPECT_EQ(soup.totals.ingredients[3].largest, largest_magnitude(std::span<const float>(weights_[3]), "w"));
  }
}

TEST_F(SoupMpi, AllOnOneRankWhileTheOthersIdleInAnyOrder) {
  for (std::size_t owner = 0; owner < size(); ++owner) {
    std::vector<SoupIngredient> mine = rank() == owner ? pantry(weights_, 0, 1) : std::vector<SoupIngredient>{};
    std::ranges::reverse(mine);
    EXPECT_EQ(make_soup(comm_, layout_, base_, mine).weights, expected());
  }
}

TEST_F(SoupMpi, EqualModelsGiveTheModel) {
  std::vector<float> model = test::weights_named("model", small_count);
  std::ranges::replace_if(
      model, [](float w) { return std::abs(w) < 0x1p-20F; }, 0x1p-20F);
  const std::vector<SoupIngredient> mine{{"of rank " + std::to_string(rank()), 1, resident(model)}};
  EXPECT_EQ(make_soup(comm_, layout_, base_, mine).weights, model);
}

TEST_F(SoupMpi, SumsReachTheSinkEqualOnAllRanksInOrder) {
  std::vector<std::int64_t> sums;
  const BucketSink sink = [&](std::uint64_t offset, std::span<const std::int64_t> part, std::span<const float> floats) {
    EXPECT_EQ(offset, sums.size());
    EXPECT_EQ(part.size(), floats.size());
    sums.insert(sums.end(), part.begin(), part.end());
  };
  make_soup(comm_, layout_, base_, pantry(weights_, rank(), size()), {.bucket_elements = 50}, sink);
  std::vector<test::OracleTerm> terms;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    terms.push_back({weights_[i], static_cast<std::int64_t>(i + 1)});
  }
  EXPECT_EQ(sums, test::oracle_sums(terms, 44));
}

// One folder that all ranks see.
class SoupMpiFolder : public SoupMpi {
 protected:
  std::unique_ptr<test::TemporaryFolder> folder_;
  fs::path root_;

  void SetUp() override {
    SoupMpi::SetUp();
    if (comm_.rank() == 0) {
      folder_ = std::make_unique<test::TemporaryFolder>();
    }
    root_ = broadcast_text(comm_, folder_ ? folder_->path().string() : "", 0);
  }
  void TearDown() override { comm_.barrier(); }
};

TEST_F(SoupMpiFolder, StreamedFromFilesAndWrittenToAFolderItEqualsTheFileMerge) {
  std::vector<MergeInput> inputs;
  if (comm_.rank() == 0) {
    for (const char* name : {"a", "b", "c"}) {
      inputs.push_back(test::make_ingredient(root_, name, name[0] == 'b' ? 3 : 1));
    }
    MergeOptions options;
    options.accumulator = AccumulatorKind::wide;  // what runs keep
    merge(inputs, root_ / "merged", options);
  }
  comm_.barrier();

  // An order of tensors that is not the files', as a flat buffer that puts decayed weights first has.
  TensorLayout layout;
  layout.append("conv.bias", {7});
  layout.append("conv.weight", {40, 3});
  const std::vector<std::string> names{"a", "b", "c"};
  std::unique_ptr<SoupFolderWriter> writer;
  if (comm_.rank() == 0) {
    writer = std::make_unique<SoupFolderWriter>(root_ / "resident", open_model(root_ / "a"),
                                                std::vector<std::string>{"unet", "unet_ema"},
                                                SoupForm{{.total_weight = 5}, AccumulatorKind::wide, {}}, names.size());
  }
  std::map<std::string, std::map<std::string, double>> largest;
  for (const auto& [part, path] : {std::pair{"unet", test::unet_file}, std::pair{"unet_ema", test::ema_file}}) {
    std::vector<Weights> files;
    files.reserve(names.size());
    std::vector<SoupIngredient> mine;
    for (std::size_t i = rank(); i < names.size(); i += size()) {
      files.push_back(Weights::open(root_ / names[i] / path));
      mine.push_back({names[i], names[i] == "b" ? 3 : 1, from_weights(files.back(), layout)});
    }
    const BucketSink sink = writer ? writer->sink(layout, part)
                                   : [](std::uint64_t, std::span<const std::int64_t>, std::span<const float>) {};
    for (const SoupTerm& term : make_soup(comm_, layout, base_, mine, {.bucket_elements = 13}, sink).ingredients) {
      largest[term.name][part] = term.largest;
    }
  }
  if (comm_.rank() == 0) {
    const Ledger merged = read_ledger(root_ / "merged");
    Ledger ledger;
    ledger.base_digest = merged.base_digest;
    for (const MergeInput& input : inputs) {
      const OpenIngredient opened = open_ingredient(input);
      LedgerIngredient entry = opened.entry;
      for (const std::string part : {"unet", "unet_ema"}) {
        entry.parts[part] = {opened.recorded.at(part), largest[input.name][part]};
      }
      entry.path = "../" + input.name;
      ledger.ingredients.push_back(entry);
    }
    ledger.history = merged.history;
    writer->commit(ledger);
    for (const fs::path& file : {test::unet_file, test::ema_file, "accumulator" / test::unet_file,
                                 "accumulator" / test::ema_file, fs::path("ledger.json")}) {
      EXPECT_EQ(test::bytes_of(root_ / "resident" / file), test::bytes_of(root_ / "merged" / file)) << file;
    }
  }
}

TEST_F(SoupMpi, WhatOneRankHasWrongIsRefusedOnAll) {
  const std::size_t last = size() - 1;
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  const auto with_poison = [&](float poison) {
    std::vector<std::vector<float>> weights = weights_;
    weights[last][small_count - 1] = poison;
    // `weights` outlives the readers here.
    return refusal(layout_, base_, pantry(weights, rank(), size()));
  };
  std::string text = with_poison(std::nanf(""));
  EXPECT_TRUE(has(text, "ingredient shard" + std::to_string(last) + ", tensor unet.conv_in.bias: element 10 is nan"))
      << text;
  text = with_poison(-INFINITY);
  EXPECT_TRUE(has(text, "element 10 is -inf")) << text;
  text = with_poison(0x1p17F);
  EXPECT_TRUE(has(text, "total weight 15")) << text;
  EXPECT_TRUE(has(text, "unet.conv_in.bias")) << text;

  if (size() > 1) {
    text = refusal(small_layout(rank() == last ? 38 : 37), base_, {});
    EXPECT_TRUE(has(text, "[38, 5]") && has(text, "[37, 5]")) << text;
    const Digest other = sha256("other");
    text = refusal(layout_, rank() == last ? other : base_, {});
    EXPECT_TRUE(has(text, other.hex()) && has(text, base_.hex())) << text;
    text = refusal(layout_, base_, {{"twice", 1, resident(weights_[0])}});
    EXPECT_TRUE(has(text, "two ingredients are named twice")) << text;
  }
  text = refusal(layout_, base_, {});
  EXPECT_TRUE(has(text, "no rank brings any")) << text;
  std::vector<SoupIngredient> weightless = pantry(weights_, rank(), size());
  if (rank() == last) {
    weightless.front().weight = 0;
  }
  text = refusal(layout_, base_, weightless);
  EXPECT_TRUE(has(text, "weight 0")) << text;
}

TEST_F(SoupMpi, AReaderOrSinkThatFailsLateFailsEverywhere) {
  int calls = 0;
  std::vector<SoupIngredient> mine{{"of rank " + std::to_string(rank()), 1, resident(weights_[0])}};
  if (rank() == size() - 1) {
    mine[0].read = [&](std::uint64_t offset, std::span<float> scratch) -> std::span<const float> {
      if (++calls > 3) {
        throw DataError("/ingredients/x", "vanished");
      }
      return std::span<const float>(weights_[0]).subspan(offset, scratch.size());
    };
  }
  const BucketSink ignore = [](std::uint64_t, std::span<const std::int64_t>, std::span<const float>) {};
  EXPECT_THROW(make_soup(comm_, layout_, base_, mine, {.bucket_elements = 100}, ignore), DataError);
  mine[0].read = resident(weights_[0]);
  const BucketSink full = [&](std::uint64_t offset, std::span<const std::int64_t>, std::span<const float>) {
    if (rank() == 0 && offset > 0) {
      throw DataError("/run/soup", "no space left on device");
    }
  };
  EXPECT_THROW(make_soup(comm_, layout_, base_, mine, {.bucket_elements = 100}, full), DataError);
}

}  // namespace
}  // namespace soup
