// The table of `soup diff`, letter by letter, and how it is broken to fit a terminal.
#include "experiments/difference_text.hpp"

#include <gmock/gmock.h>

#include "core/error.hpp"
#include "experiments/text_table.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Model m moved by deltas[m] in the one weight of each block, whose base is 1.
PartDifference part_of(const std::string& name,
                       const std::vector<std::pair<std::string, std::vector<double>>>& blocks) {
  PartDifference part{name, name, {}};
  for (const auto& [block, moves] : blocks) {
    TensorDifference tensor;
    tensor.name = block + ".weight";
    tensor.block = block;
    tensor.sums = DeltaSums(moves.size());
    std::vector<std::vector<double>> deltas;
    for (const double move : moves) {
      deltas.push_back({move});
      tensor.changes.push_back({std::abs(move), 0, 1.0, 1.0 + move, move == 0.0});
    }
    tensor.sums.add(std::vector<double>{1.0}, deltas);
    tensor.not_finite.resize(moves.size());
    part.tensors.push_back(std::move(tensor));
  }
  return part;
}

TEST(DifferenceText, IsATableWithCosinesAndOutliers) {
  Difference difference;
  difference.base = {"base", "x/base"};
  difference.models = {{"one", "x/one"}, {"two", "x/two"}};
  difference.parts = {part_of("model", {{"conv_in", {0.25, 0.5}}, {"mid_block", {0.0, -0.00001}}})};
  difference.equal_parts = {"text_encoder"};
  difference.only_base_parts = {"safety_checker"};
  EXPECT_EQ(difference_text(difference, find_outliers(difference)),
            "2 models against the base x/base\n"
            "Equal everywhere: text_encoder\n"
            "Only in the base, not compared: safety_checker\n"
            "\n"
            "Relative drift |w - base| / |base|\n"
            "block      weights     one       two\n"
            "conv_in          1  0.2500    0.5000\n"
            "mid_block        1       0   1.0e-05\n"
            "all              2  0.1768    0.3536\n"
            "\n"
            "Cosines between the deltas: 1 the same way, 0 unrelated, -1 opposite\n"
            "       one    two\n"
            "one      1  1.000\n"
            "two  1.000      1\n"
            "\n"
            "The weight that moved most\n"
            "  one: conv_in.weight element 0, from 1 to 1.25\n"
            "  two: conv_in.weight element 0, from 1 to 1.5\n"
            "\n"
            "Outliers: none\n"
            "Looked for\n"
            "  drift more than 3 times the median of the other models\n"
            "  cosine below -0.1 and 3 standard deviations beyond chance\n"
            "  weights that are NaN or infinite; integers that differ; models that did not move\n");
}

TEST(DifferenceText, PartsAreGroupsAndOutliersAreMarkedAndListed) {
  Difference difference;
  difference.base = {"base", "x/base"};
  difference.models = {{"one", {}}, {"two", {}}};
  difference.parts = {part_of("unet", {{"conv_in", {0.1, 0.5}}}), part_of("unet_ema", {{"conv_in", {0.1, 0.2}}})};
  difference.parts[1].base_name = "unet";
  difference.parts[0].tensors[0].not_finite[1] = {3, 7};
  TensorDifference steps;
  steps.name = "steps";
  steps.block = "steps";
  steps.dtype = DType::i64;
  steps.sums = DeltaSums(2);
  steps.changes.resize(2);
  steps.changes[0].equal = false;
  steps.not_finite.resize(2);
  difference.parts[1].tensors.push_back(steps);
  const std::string text = difference_text(difference, find_outliers(difference));
  EXPECT_THAT(text, AllOf(HasSubstr("unet_ema: the base has none; compared with its unet\n"),
                          HasSubstr("; * outlier\n"), HasSubstr("\nunet\n  conv_in "), HasSubstr("0.5000*\n"),
                          HasSubstr("\n  all of unet_ema "), HasSubstr("\nall parts ")));
  EXPECT_THAT(text, Not(HasSubstr("\n  steps")));
  EXPECT_THAT(text, AllOf(HasSubstr("  NaN or infinite: 3 weights of two in unet conv_in.weight, first element 7\n"),
                          HasSubstr("  integers differ: unet_ema steps of one\n"),
                          HasSubstr("  drift: two in unet conv_in: 0.5000 against a median of 0.1000 (5 times)\n"),
                          HasSubstr("Outliers: 5\n")));
}

TEST(DifferenceText, TopShowsTheRowsThatMovedMostInTheirOrder) {
  Difference difference;
  difference.models = {{"one", {}}};
  difference.parts = {part_of("model", {{"a", {0.3}}, {"b", {0.1}}, {"c", {0.2}}, {"d", {0.4}}})};
  DifferenceTextOptions options;
  options.top = 2;
  const std::string blocks = difference_text(difference, find_outliers(difference), options);
  EXPECT_THAT(blocks, AllOf(HasSubstr("\na "), HasSubstr("\nd "), Not(HasSubstr("\nb ")), Not(HasSubstr("\nc ")),
                            HasSubstr("model: the 2 of 4 blocks that moved most; --top 0 shows all\n")));
  options.tensors = true;
  options.top = 0;
  const std::string tensors = difference_text(difference, find_outliers(difference), options);
  EXPECT_THAT(tensors, AllOf(HasSubstr("\na.weight "), HasSubstr("\nb.weight "), Not(HasSubstr("moved most; "))));
}

TEST(DifferenceText, SaysWhenNothingDiffersAndWhatAMeanIs) {
  Difference difference;
  difference.reference = Reference::model;
  difference.base = {"a", "x/a"};
  difference.models = {{"b", {}}};
  difference.equal_parts = {"model"};
  EXPECT_EQ(difference_text(difference, find_outliers(difference)),
            "b against x/a\nEqual everywhere: model\nNothing differs.\n");
  difference.reference = Reference::mean;
  difference.models = {{"a", {}}, {"b", {}}, {"c", {}}};
  EXPECT_THAT(difference_text(difference, find_outliers(difference)),
              HasSubstr("3 models against their own mean, weight by weight (no --base)\n"));
}

TEST(TextTable, BreaksColumnsThatDoNotFitALine) {
  TextTable table("row", {"one", "two", "three"});
  table.add_row("first", {"1", "22", "333"});
  EXPECT_EQ(table.text(17),
            "row    one  two\n"
            "first    1   22\n"
            "\n"
            "row    three\n"
            "first    333\n");
  EXPECT_EQ(table.text(1),
            "row    one\nfirst    1\n"
            "\nrow    two\nfirst   22\n"
            "\nrow    three\nfirst    333\n")
      << "a line holds one column at least";
}

TEST(TextTable, CountsLettersAndShortensLongTitles) {
  TextTable table("", {"größer", "an-ingredient-with-a-very-long-name-3"});
  table.add_row("a", {"1", "2"});
  EXPECT_EQ(table.text(120),
            "   größer  an-ingredi..-long-name-3\n"
            "a       1                         2\n");
  EXPECT_THROW(table.add_row("b", {"1"}), InvariantError);
}

}  // namespace
}  // namespace soup
