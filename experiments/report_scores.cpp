// The report's numbers: verdict, scores, differences, held-out losses per shard.
#include <fmt/format.h>

#include <cmath>
#include <set>

#include "experiments/html.hpp"
#include "experiments/report_sections.hpp"
#include "experiments/verdict.hpp"

namespace soup {

namespace {

std::string weights_title(const std::string& weights) {
  return weights == "ema" ? "EMA weights" : "Raw weights";
}

std::string row_class(const std::string& model) {
  return model == "soup" ? " class=\"soup\"" : model == "real" ? " class=\"real\"" : "";
}

// "Soup 0.326, paragon 0.301: difference +0.025 ±0.008"
std::string sentence(const RunData& run, const ScoreVerdict& score, const std::string& other,
                     const std::string& weights) {
  const auto value = [&](const std::string& model) {
    const ModelRecord* record = run.find(model, weights);
    const auto found = record == nullptr ? std::map<std::string, Estimate>::const_iterator{}
                                         : record->scores.find(std::string(score.kind->name));
    return record == nullptr || found == record->scores.end() ? std::string("–")
                                                              : decimal(found->second.value, score.kind->decimals);
  };
  const char* reading = score.outcome > 0   ? "better than the paragon"
                        : score.outcome < 0 ? "worse than the paragon"
                                            : "no difference beyond two standard errors";
  return fmt::format("<li><strong>{}</strong> ({} is better): soup {}, paragon {}; difference {}: {}.</li>\n",
                     escaped(score.kind->title), score.kind->higher_is_better ? "higher" : "lower", value("soup"),
                     value(other), with_error(score.difference, score.kind->decimals), reading);
}

std::string short_verdict(const RunData& run, const std::string& other, const std::string& name,
                          const std::string& weights) {
  const Comparison* comparison = run.find_comparison(other, weights);
  return comparison == nullptr
             ? ""
             : fmt::format("<li>{}: {}</li>\n", weights_title(weights), escaped(judge(*comparison, name).headline));
}

struct Column {
  const ScoreKind* kind;
  double best;  // among the trained models of this table
};

std::vector<Column> columns_of(const RunData& run, const std::string& weights) {
  std::vector<Column> columns;
  for (const ScoreKind& kind : score_kinds()) {
    bool present = false;
    double best = std::nan("");
    for (const std::string& model : run.models) {
      const ModelRecord* record = run.find(model, weights);
      const auto score = record == nullptr ? std::map<std::string, Estimate>::const_iterator{}
                                           : record->scores.find(std::string(kind.name));
      if (record == nullptr || score == record->scores.end()) {
        continue;
      }
      present = true;
      const double value = score->second.value;
      if (std::isnan(best) || (kind.higher_is_better ? value > best : value < best)) {
        best = value;
      }
    }
    if (present) {
      columns.push_back({&kind, best});
    }
  }
  return columns;
}

std::string score_row(const ModelRecord& record, const std::vector<Column>& columns) {
  std::string row =
      fmt::format("<tr{}><th scope=\"row\">{}</th>", row_class(record.model), escaped(display_name(record.model)));
  for (const Column& column : columns) {
    const auto score = record.scores.find(std::string(column.kind->name));
    if (score == record.scores.end()) {
      row += "<td>–</td>";
      continue;
    }
    const bool is_best = record.model != "real" && score->second.value == column.best;
    row += fmt::format("<td{}>{}</td>", is_best ? " class=\"best\"" : "",
                       with_error(score->second, column.kind->decimals));
  }
  return row + "</tr>\n";
}

std::string score_table(const RunData& run, const std::string& weights) {
  const std::vector<Column> columns = columns_of(run, weights);
  if (columns.empty()) {
    return {};
  }
  std::string html =
      fmt::format("<h3>{}</h3>\n<div class=\"frame\"><table class=\"scores\">\n<thead><tr><th scope=\"col\">Model</th>",
                  weights_title(weights));
  for (const Column& column : columns) {
    html += fmt::format("<th scope=\"col\" title=\"{}\">{}&nbsp;{}</th>", escaped(column.kind->explanation),
                        escaped(column.kind->title), column.kind->higher_is_better ? "↑" : "↓");
  }
  html += "</tr></thead>\n<tbody>\n";
  if (const ModelRecord* real = run.find("real", "")) {
    html += score_row(*real, columns);
  }
  for (const std::string& model : run.models) {
    if (const ModelRecord* record = run.find(model, weights)) {
      html += score_row(*record, columns);
    }
  }
  return html + "</tbody></table></div>\n";
}

std::string difference_table(const RunData& run, const std::string& weights) {
  std::set<std::string> present;
  for (const Comparison& comparison : run.comparisons) {
    for (const auto& [name, difference] : comparison.differences) {
      present.insert(name);
    }
  }
  std::string rows;
  for (const Comparison& comparison : run.comparisons) {
    if (comparison.weights != weights) {
      continue;
    }
    rows += fmt::format("<tr><th scope=\"row\">{}</th>", escaped(display_name(comparison.second)));
    for (const ScoreKind& kind : score_kinds()) {
      if (!present.contains(std::string(kind.name))) {
        continue;
      }
      const auto found = comparison.differences.find(std::string(kind.name));
      if (found == comparison.differences.end()) {
        rows += "<td>–</td>";
        continue;
      }
      const int outcome = outcome_of(kind, found->second);
      rows += fmt::format("<td><span class=\"{}\">{}</span></td>",
                          outcome > 0   ? "good"
                          : outcome < 0 ? "bad"
                                        : "even",
                          with_error(found->second, kind.decimals));
    }
    rows += "</tr>\n";
  }
  if (rows.empty()) {
    return {};
  }
  std::string html = fmt::format(
      "<h3>{}</h3>\n<div class=\"frame\"><table class=\"scores\">\n<thead><tr><th scope=\"col\">Soup minus …</th>",
      weights_title(weights));
  for (const ScoreKind& kind : score_kinds()) {
    if (present.contains(std::string(kind.name))) {
      html += fmt::format("<th scope=\"col\">{}&nbsp;{}</th>", escaped(kind.title), kind.higher_is_better ? "↑" : "↓");
    }
  }
  return html + "</tr></thead>\n<tbody>\n" + rows + "</tbody></table></div>\n";
}

std::string shard_loss_table(const RunData& run, const std::string& weights) {
  std::set<std::string> shards;
  for (const std::string& model : run.models) {
    if (const ModelRecord* record = run.find(model, weights)) {
      for (const auto& [shard, loss] : record->denoising_by_shard) {
        shards.insert(shard);
      }
    }
  }
  if (shards.empty()) {
    return {};
  }
  std::string html = fmt::format("<h3>{}</h3>\n<div class=\"frame\"><table>\n<thead><tr><th scope=\"col\">Model</th>",
                                 weights_title(weights));
  for (const std::string& shard : shards) {
    html += fmt::format("<th scope=\"col\">{}</th>", escaped(shard));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const std::string& model : run.models) {
    const ModelRecord* record = run.find(model, weights);
    if (record == nullptr || record->denoising_by_shard.empty()) {
      continue;
    }
    html += fmt::format("<tr{}><th scope=\"row\">{}</th>", row_class(model), escaped(display_name(model)));
    for (const std::string& shard : shards) {
      const auto loss = record->denoising_by_shard.find(shard);
      const bool own = model == "ingredient/" + shard;
      html += loss == record->denoising_by_shard.end()
                  ? "<td>–</td>"
                  : fmt::format("<td{}>{}</td>", own ? " class=\"best\"" : "", with_error(loss->second, 4));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace

std::string verdict_section(const RunData& run) {
  const std::string other = "paragon/equal-total";
  const Comparison* comparison = run.find_comparison(other, "ema");
  if (comparison == nullptr) {
    return {};
  }
  const Verdict verdict = judge(*comparison, "the paragon");
  std::string html =
      fmt::format("<section class=\"verdict\">\n<p class=\"headline\">{}</p>\n<ul>\n", escaped(verdict.headline));
  for (const ScoreVerdict& score : verdict.scores) {
    html += sentence(run, score, other, "ema");
  }
  html +=
      "</ul>\n<p>That is with EMA weights, against the paragon that saw as many images as all ingredients together. "
      "Otherwise:</p>\n<ul>\n";
  html += short_verdict(run, other, "the paragon", "raw");
  if (run.find_comparison("paragon/one-shard", "ema") != nullptr) {
    const Comparison& small = *run.find_comparison("paragon/one-shard", "ema");
    html += fmt::format("<li>Paragon that saw one ingredient's images, EMA weights: {}</li>\n",
                        escaped(judge(small, "that paragon").headline));
  }
  html += fmt::format(
      "</ul>\n<p class=\"note\">One run with one random seed ({}). The standard errors (±) say how much other prompts "
      "would move a number, not how much another training run would; differences within two standard errors count as "
      "none, and {} scores were looked at. The paper's own claim is about much larger models and "
      "data.</p>\n</section>\n",
      run.experiment.seed, verdict.scores.size());
  return html;
}

std::string score_section(const RunData& run) {
  const std::string tables = score_table(run, "ema") + score_table(run, "raw");
  if (tables.empty()) {
    return {};
  }
  std::string html = "<section>\n<h2>Scores</h2>\n";
  const ModelRecord* any = run.find("real", "");
  html += fmt::format(
      "<p>{}Means over generated images with bootstrap standard errors; ↑ higher is better, ↓ lower is better; the "
      "best "
      "model of a column is bold and coloured. “Real icons” are the prompts' own held-out icons: the ceiling of this "
      "scorer, "
      "not of what could be drawn. A model that stays near the base can score well on alignment alone: read it "
      "together "
      "with KID, style and held-out loss.</p>\n",
      any == nullptr ? "" : fmt::format("{} prompts. ", any->images.size()));
  html += tables;
  html += "<details><summary>What the columns mean</summary><dl class=\"facts\">\n";
  for (const ScoreKind& kind : score_kinds()) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(kind.title), escaped(kind.explanation));
  }
  html += "</dl></details>\n";
  if (const auto accuracy = run.scorer.find("held_out_accuracy"); accuracy != run.scorer.end()) {
    html += fmt::format(
        "<p class=\"note\">The scorer itself, on {} real held-out icons it was not trained on: finds an icon's own "
        "caption first among {} captions with style words in {:.1f}% of cases (among the first five: {:.1f}%); context "
        "right in {:.1f}%, style in {:.1f}%.</p>\n",
        grouped(accuracy->value("pairs", std::uint64_t{0})),
        grouped(accuracy->value("styled_captions", std::uint64_t{0})), 100.0 * accuracy->value("styled_top1", 0.0),
        100.0 * accuracy->value("styled_top5", 0.0), 100.0 * accuracy->value("context_accuracy", 0.0),
        100.0 * accuracy->value("style_accuracy", 0.0));
  }
  return html + "</section>\n";
}

std::string difference_section(const RunData& run) {
  const std::string ema = difference_table(run, "ema");
  const std::string raw = difference_table(run, "raw");
  if (ema.empty() && raw.empty()) {
    return {};
  }
  return "<section>\n<h2>Soup against each other model</h2>\n<p>Differences on the same prompts and the same noise, "
         "with "
         "paired standard errors. ▲ the soup is better, ▼ worse, by more than two standard errors. To pick the best "
         "ingredient after looking favours the ingredients.</p>\n" +
         ema + raw + "</section>\n";
}

std::string shard_loss_section(const RunData& run) {
  const std::string ema = shard_loss_table(run, "ema");
  const std::string raw = shard_loss_table(run, "raw");
  if (ema.empty() && raw.empty()) {
    return {};
  }
  return "<section>\n<h2>Held-out denoising loss, shard by shard</h2>\n<p>On real icons of each shard whose names "
         "were held out of training; lower is better. An ingredient's own shard is bold and coloured.</p>\n" +
         ema + "<details><summary>The same with raw weights</summary>\n" + raw + "</details>\n</section>\n";
}

}  // namespace soup
