// The soup from memory over 1 to 4 ranks: the oracle's bits for any distribution, the bits of the file merge, and
// refusals that reach every rank.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

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

// Groups of two ranks (the last may be of one): ranks of a group share the work on the same ingredients.
class SoupMpiGroups : public SoupMpi {
 protected:
  std::unique_ptr<Communicator> group_ = comm_.split(comm_.rank() / 2, comm_.rank());
  std::unique_ptr<Communicator> across_ = comm_.split(comm_.rank() % 2, comm_.rank());
  std::size_t groups_ = (size() + 1) / 2;
  std::size_t number_ = rank() / 2;
  int slices_ = size() % 2 == 1 ? 1 : 2;

  [[nodiscard]] SoupRanks ranks() { return {.all = comm_, .group = *group_, .across = *across_}; }
  // This group's ingredients, of those that `chosen` lets pass.
  [[nodiscard]] std::vector<SoupIngredient> dealt(const std::function<bool(std::size_t)>& chosen) const {
    std::vector<SoupIngredient> mine;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      if (chosen(i) && i % groups_ == number_) {
        mine.push_back(pantry(weights_, i, weights_.size()).front());
      }
    }
    return mine;
  }
  [[nodiscard]] PartialSums partial(const SoupOptions& options, const std::function<bool(std::size_t)>& chosen) const {
    PartialSums sums(layout_, group_->rank(), slices_, 15, options);
    for (const SoupIngredient& ingredient : dealt(chosen)) {
      sums.add(ingredient);
    }
    return sums;
  }
  [[nodiscard]] std::vector<float> expected_without(std::size_t left_out) const {
    std::vector<test::OracleTerm> terms;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      if (i != left_out) {
        terms.push_back({weights_[i], static_cast<std::int64_t>(i + 1)});
      }
    }
    return test::oracle_soup(terms, 44);
  }
  // The soup as every rank of the groups with a sink gets it.
  std::vector<float> make(const SoupShare& share, const SoupOptions& options, SoupTotals* totals = nullptr) {
    std::vector<float> soup;
    const SoupTotals made =
        make_soup(ranks(), layout_, base_, share, options,
                  [&](std::uint64_t offset, std::span<const std::int64_t>, std::span<const float> part) {
                    EXPECT_EQ(offset, soup.size());
                    soup.insert(soup.end(), part.begin(), part.end());
                  });
    if (totals != nullptr) {
      *totals = made;
    }
    return soup;
  }
};

TEST_F(SoupMpiGroups, SlicesCutABucketWithoutARest) {
  for (const int slices : {1, 2, 3, 7}) {
    for (const std::uint64_t count : {0ULL, 1ULL, 6ULL, 7ULL, 100ULL}) {
      std::uint64_t next = 0;
      for (int slice = 0; slice < slices; ++slice) {
        const Slice part = slice_of(count, slice, slices);
        EXPECT_EQ(part.begin, next);
        next += part.count;
      }
      EXPECT_EQ(next, count);
      EXPECT_EQ(slice_of(count, slices, slices).count, 0U);
    }
  }
}

TEST_F(SoupMpiGroups, RanksOfAGroupShareTheWorkAndTheBitsAreTheSame) {
  for (const std::size_t bucket : {1u, 7u, 64u, 100000u}) {
    SoupTotals totals;
    EXPECT_EQ(make({.ingredients = dealt([](std::size_t) { return true; })}, {.bucket_elements = bucket}, &totals),
              expected());
    EXPECT_EQ(totals.total_weight, 15);
    ASSERT_EQ(totals.ingredients.size(), 5U);
    EXPECT_EQ(totals.ingredients[3].largest, largest_magnitude(std::span<const float>(weights_[3]), "w"));
  }
}

TEST_F(SoupMpiGroups, WhatWasSummedAsItFinishedAndWhatIsReadNowMakeTheSameSoup) {
  for (const std::size_t bucket : {7u, 100000u}) {
    const SoupOptions options{.bucket_elements = bucket};
    const PartialSums all = partial(options, [](std::size_t) { return true; });
    SoupTotals totals;
    EXPECT_EQ(make({.sums = &all}, options, &totals), expected());
    EXPECT_EQ(totals.total_weight, 15);
    EXPECT_EQ(totals.ingredients[3].largest, largest_magnitude(std::span<const float>(weights_[3]), "w"));

    const auto is_even = [](std::size_t i) { return i % 2 == 0; };
    const PartialSums even = partial(options, is_even);
    const std::vector<SoupIngredient> odd = dealt([&](std::size_t i) { return !is_even(i); });
    EXPECT_EQ(make({.ingredients = odd, .sums = &even}, options), expected());
  }
}

TEST_F(SoupMpiGroups, AnIngredientThatIsLeftOutOfTheSumsWasNeverThere) {
  const SoupOptions options{.bucket_elements = 64};
  const PartialSums all = partial(options, [](std::size_t) { return true; });
  for (std::size_t left_out = 0; left_out < weights_.size(); ++left_out) {
    const std::vector<SoupIngredient> without = dealt([&](std::size_t i) { return i == left_out; });
    SoupTotals totals;
    EXPECT_EQ(make({.sums = &all, .without = without}, options, &totals), expected_without(left_out));
    EXPECT_EQ(totals.ingredients.size(), 4U);
    EXPECT_EQ(totals.total_weight, 15 - static_cast<std::int64_t>(left_out + 1));
  }
  EXPECT_EQ(make({.sums = &all}, options), expected());  // the sums are as they were
}

TEST_F(SoupMpiGroups, SumsRefuseWhatTheSoupWouldAndStayWhole) {
  const SoupOptions options{.bucket_elements = 64};
  PartialSums sums = partial(options, [](std::size_t) { return true; });
  std::vector<float> bad = weights_[0];
  bad[group_->rank() == 0 ? 3 : bad.size() - 1] = std::numeric_limits<float>::quiet_NaN();
  bad[3] = bad.back() = std::numeric_limits<float>::quiet_NaN();
  if (group_->rank() < slices_) {
    EXPECT_THROW(sums.add({"bad", 1, resident(bad)}), DataError);
    std::vector<float> large(small_count, 0x1p15F);  // 2^15 x 15 x 2^44 > 2^62
    EXPECT_THROW(sums.add({"large", 1, resident(large)}), DataError);
  }
  EXPECT_THROW(sums.add({"light", 0, resident(weights_[0])}), ConfigError);
  if (!sums.terms().empty()) {
    EXPECT_THROW(sums.add({sums.terms().front().name, 1, resident(weights_[0])}), ConfigError);
  }
  EXPECT_EQ(make({.sums = &sums}, options), expected());
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
