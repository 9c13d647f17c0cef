// A difference of models as a table for a terminal.
#include "experiments/difference_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "experiments/text_table.hpp"

namespace soup {

namespace {

std::string heading(const Difference& difference) {
  const std::vector<std::string> names = model_names(difference);
  std::string text;
  switch (difference.reference) {
    case Reference::base:
      text = fmt::format("{} model{} against the base {}", names.size(), names.size() == 1 ? "" : "s",
                         difference.base.path.string());
      break;
    case Reference::model:
      text = fmt::format("{} against {}", names.front(), difference.base.path.string());
      break;
    case Reference::mean:
      text = fmt::format("{} models against their own mean, weight by weight (no --base)", names.size());
      break;
  }
  text += '\n';
  for (const PartDifference& part : difference.parts) {
    if (difference.reference != Reference::mean && part.name != part.base_name && part.name.ends_with("_ema")) {
      text += fmt::format("{}: the base has none; compared with its {}\n", part.name, part.base_name);
    }
  }
  if (!difference.equal_parts.empty()) {
    text += fmt::format("Equal everywhere: {}\n", fmt::join(difference.equal_parts, ", "));
  }
  if (!difference.only_base_parts.empty()) {
    text += fmt::format("Only in the base, not compared: {}\n", fmt::join(difference.only_base_parts, ", "));
  }
  return text;
}

class DriftTable {
 public:
  DriftTable(const Difference& difference, const Outliers& outliers, const DifferenceTextOptions& options)
      : difference_(difference), options_(options) {
    for (const Outliers::Drift& drift : outliers.drifts) {
      marked_.insert({drift.part, drift.block, drift.model});
    }
  }

  std::string text() {
    for (const PartDifference& part : difference_.parts) {
      const std::vector<DifferenceRow> rows = top_rows(part, options_);
      if (difference_.parts.size() > 1) {
        table_.begin_group(part.name);
      }
      for (const DifferenceRow& row : rows) {
        add(row.block, row);
      }
      const std::size_t all = options_.tensors ? tensor_rows(part).size() : block_rows(part).size();
      if (rows.size() < all) {
        notes_ += fmt::format("{}: the {} of {} {} that moved most; --top 0 shows all\n", part.name, rows.size(), all,
                              options_.tensors ? "tensors" : "blocks");
      }
      add(difference_.parts.size() > 1 ? "all of " + part.name : "all", part_row(part));
    }
    if (difference_.parts.size() > 1) {
      table_.begin_group("");
      add("all parts", total_row(difference_));
    }
    return fmt::format("\nRelative drift |w - {0}| / |{0}|{1}\n{2}{3}",
                       difference_.reference == Reference::mean ? "mean" : "base", marked_.empty() ? "" : "; * outlier",
                       table_.text(options_.width), notes_);
  }

 private:
  void add(const std::string& label, const DifferenceRow& row) {
    std::vector<std::string> cells{fmt::format("{}", row.sums.elements())};
    for (std::size_t m = 0; m < row.sums.models(); ++m) {
      cells.push_back(drift_number(row.sums.drift(m)) + (marked_.contains({row.part, row.block, m}) ? "*" : " "));
    }
    table_.add_row(label, std::move(cells));
  }

  std::vector<std::string> columns() const {
    std::vector<std::string> columns{"weights"};
    for (const std::string& name : model_names(difference_)) {
      columns.push_back(name + " ");  // over the digits, beside the marks
    }
    return columns;
  }

  const Difference& difference_;
  const DifferenceTextOptions& options_;
  std::set<std::tuple<std::string, std::string, std::size_t>> marked_;
  TextTable table_{options_.tensors ? "tensor" : "block", columns()};
  std::string notes_;
};

std::string cosine_text(const Difference& difference, std::size_t width) {
  const std::vector<std::string> names = model_names(difference);
  if (names.size() < 2) {
    return {};
  }
  const DeltaSums sums = total_row(difference).sums;
  TextTable table("", names);
  for (std::size_t a = 0; a < names.size(); ++a) {
    std::vector<std::string> cells;
    for (std::size_t b = 0; b < names.size(); ++b) {
      const double cosine = sums.cosine(a, b);
      cells.push_back(std::isnan(cosine) ? "-" : a == b ? "1" : fmt::format("{:.3f}", cosine));
    }
    table.add_row(names[a], std::move(cells));
  }
  return fmt::format("\nCosines between the deltas{}: 1 the same way, 0 unrelated, -1 opposite\n{}",
                     difference.parts.size() > 1 ? ", all parts" : "", table.text(width));
}

// The weight that moved most, per model.
std::string largest_text(const Difference& difference) {
  std::string text;
  for (std::size_t m = 0; m < difference.models.size(); ++m) {
    const PartDifference* in = nullptr;
    const TensorDifference* most = nullptr;
    for (const PartDifference& part : difference.parts) {
      for (const TensorDifference& tensor : part.tensors) {
        if (tensor.changes[m].largest > (most == nullptr ? 0.0 : most->changes[m].largest)) {
          in = &part;
          most = &tensor;
        }
      }
    }
    if (most != nullptr) {
      const TensorChange& change = most->changes[m];
      text += fmt::format("  {}: {}{} element {}, from {:.4g} to {:.4g}\n", difference.models[m].name,
                          difference.parts.size() > 1 ? in->name + " " : "", most->name, change.element, change.from,
                          change.to);
    }
  }
  return text.empty() ? "" : "\nThe weight that moved most\n" + text;
}

std::string place(const std::string& part, const std::string& block) {
  if (part.empty()) {
    return "all parts";
  }
  return block.empty() ? "all of " + part : fmt::format("{} {}", part, block);
}

class OutlierList {
 public:
  OutlierList(const Difference& difference, const Outliers& outliers, std::size_t top)
      : names_(model_names(difference)), outliers_(outliers), top_(top) {}

  std::string text() {
    add(outliers_.broken, [&](const Outliers::Broken& broken) {
      return fmt::format("NaN or infinite: {} weight{} of {} in {} {}, first element {}", broken.weights.count,
                         broken.weights.count == 1 ? "" : "s", broken.model ? names_[*broken.model] : "the base",
                         broken.part, broken.tensor, broken.weights.first);
    });
    add(outliers_.integers, [&](const Outliers::Integers& integers) {
      return fmt::format("integers differ: {} {} of {}", integers.part, integers.tensor, names_[integers.model]);
    });
    add(outliers_.unmoved, [&](const Outliers::Unmoved& unmoved) {
      return fmt::format("did not move: {} in {}", names_[unmoved.model], unmoved.part);
    });
    add(outliers_.drifts, [&](const Outliers::Drift& drift) {
      return fmt::format(
          "drift: {} in {}: {} against a median of {} ({})", names_[drift.model], place(drift.part, drift.block),
          drift_number(drift.drift), drift_number(drift.median),
          names_.size() < 4 ? fmt::format("{:.3g} times", drift.score) : fmt::format("score {:.1f}", drift.score));
    });
    add(outliers_.opposed, [&](const Outliers::Opposed& pair) {
      return fmt::format("opposed: {} and {} in {}: cosine {:.3f}", names_[pair.a], names_[pair.b],
                         place(pair.part, pair.block), pair.cosine);
    });
    return fmt::format(
        "\nOutliers: {}\n{}Looked for\n  {}\n  {}\n  weights that are NaN or infinite; integers that differ; models "
        "that "
        "did not move\n",
        outliers_.count() == 0 ? "none" : fmt::format("{}", outliers_.count()), text_, outliers_.drift_rule,
        outliers_.opposed_rule);
  }

 private:
  template <typename Kind, typename Line>
  void add(const std::vector<Kind>& list, const Line& line) {
    const std::size_t shown = top_ == 0 ? list.size() : std::min(top_, list.size());
    for (std::size_t i = 0; i < shown; ++i) {
      text_ += fmt::format("  {}\n", line(list[i]));
    }
    if (shown < list.size()) {
      text_ += fmt::format("  ... and {} more of this kind; --top 0 shows all\n", list.size() - shown);
    }
  }

  std::vector<std::string> names_;
  const Outliers& outliers_;
  std::size_t top_;
  std::string text_;
};

}  // namespace

std::vector<std::string> model_names(const Difference& difference) {
  std::vector<std::string> names;
  for (const DifferenceInput& model : difference.models) {
    names.push_back(model.name);
  }
  return names;
}

std::string drift_number(double drift) {
  if (drift == 0.0 || !std::isfinite(drift)) {
    return drift == 0.0 ? "0" : "inf";
  }
  return drift >= 0.001 && drift < 1000.0 ? fmt::format("{:.4f}", drift) : fmt::format("{:.1e}", drift);
}

std::vector<DifferenceRow> top_rows(const PartDifference& part, const DifferenceTextOptions& options) {
  std::vector<DifferenceRow> rows = options.tensors ? tensor_rows(part) : block_rows(part);
  if (options.top == 0 || rows.size() <= options.top) {
    return rows;
  }
  const auto most = [](const DifferenceRow& row) {
    double largest = 0.0;
    for (std::size_t m = 0; m < row.sums.models(); ++m) {
      largest = std::max(largest, row.sums.drift(m));
    }
    return largest;
  };
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    order.emplace_back(-most(rows[i]), i);
  }
  std::ranges::sort(order);
  order.resize(options.top);
  std::ranges::sort(order, {}, &std::pair<double, std::size_t>::second);
  std::vector<DifferenceRow> kept;
  for (const auto& [drift, index] : order) {
    kept.push_back(std::move(rows[index]));
  }
  return kept;
}

std::string difference_text(const Difference& difference, const Outliers& outliers,
                            const DifferenceTextOptions& options) {
  std::string text = heading(difference);
  if (difference.parts.empty()) {
    return text + "Nothing differs.\n";
  }
  text += DriftTable(difference, outliers, options).text();
  text += cosine_text(difference, options.width);
  text += largest_text(difference);
  return text + OutlierList(difference, outliers, options.top).text();
}

}  // namespace soup
