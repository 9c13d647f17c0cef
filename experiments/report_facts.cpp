// The report's record: data, provenance, times, how to do it again.
#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"
#include "experiments/html.hpp"
#include "experiments/report_sections.hpp"

namespace soup {

namespace {

std::string fact(std::string_view name, std::string_view html) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), html);
}

std::string code(std::string_view text) {
  return "<code>" + escaped(text) + "</code>";
}

// A JSON value as people write it: {"hdf5": "1.10", "vips": "8.14"} -> "hdf5 1.10, vips 8.14".
std::string plain_text(const nlohmann::json& value) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (!value.is_structured()) {
    return value.dump();
  }
  std::string text;
  for (const auto& [name, item] : value.items()) {
    text += (text.empty() ? "" : ", ") + (value.is_object() ? name + " " : "") + plain_text(item);
  }
  return text;
}

std::string shard_rows(const RunData& run, bool base) {
  std::string rows;
  for (const ShardSummary& shard : run.shards) {
    if (shard.is_base != base) {
      continue;
    }
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}{}</td>"
        "<td class=\"text\">{}</td><td><code title=\"{}\">{}</code></td></tr>\n",
        escaped(shard.name), grouped(shard.images), grouped(shard.trained), grouped(shard.held_out),
        grouped(shard.dropped), escaped(shard.origin.source),
        shard.origin.package.empty() ? "" : " (" + escaped(shard.origin.package) + ")",
        shard.origin.licence.empty() ? "not stated" : escaped(shard.origin.licence), escaped(shard.root),
        escaped(shard.root.substr(0, 12)));
  }
  return rows;
}

std::string shard_table(const std::string& rows) {
  return "<div class=\"frame\"><table>\n<thead><tr><th scope=\"col\">Shard</th><th scope=\"col\">Images</th><th "
         "scope=\"col\">Trained on</th><th scope=\"col\">Held out</th><th scope=\"col\">Dropped</th><th scope=\"col\" "
         "class=\"text\">Source</th><th scope=\"col\" class=\"text\">Licence</th><th scope=\"col\">Data "
         "root</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody></table></div>\n";
}

}  // namespace

std::string data_section(const RunData& run) {
  const std::string shards = shard_rows(run, false);
  const std::string base = shard_rows(run, true);
  if (shards.empty() && base.empty()) {
    return {};
  }
  std::string html = "<section>\n<h2>What was trained on what</h2>\n";
  if (!shards.empty()) {
    html +=
        "<p>One ingredient per shard. Names are held out over all shards at once, so no style of a held-out name was "
        "trained on. “Dropped” are images that an earlier shard has too.</p>\n" +
        shard_table(shards);
  }
  if (run.duplicates.contains("exact")) {
    html += fmt::format(
        "<p>Duplicates between shards: {} exact and {} near pairs were found before training; {} of the shards' images "
        "also are among the base's.</p>\n",
        grouped(run.duplicates.value("exact", std::uint64_t{0})),
        grouped(run.duplicates.value("near", std::uint64_t{0})),
        grouped(run.duplicates.value("also_in_base", std::uint64_t{0})));
  }
  if (!base.empty()) {
    html += "<h3>The base's data</h3>\n" + shard_table(base);
  } else if (run.experiment.base.model) {
    html += fmt::format("<p>The base is the finished model {}.</p>\n",
                        code(run.experiment.base.model->filename().string()));
  }
  return html + "</section>\n";
}

std::string provenance_section(const RunData& run) {
  if (!run.ledger) {
    return {};
  }
  const Ledger& ledger = *run.ledger;
  std::string html =
      "<section>\n<h2>Ledger of the soup</h2>\n<p>The soup is an exact average: weights are summed as 64-bit integers, "
      "so "
      "the same ingredients give the same bits in any order and on any number of machines.</p>\n<dl class=\"facts\">\n";
  html += fact("Soup digest", code(ledger.soup_digest().hex()));
  html += fact("Ledger digest", code(content_digest(ledger).hex()));
  html += fact("Base digest", ledger.base_digest ? code(ledger.base_digest->hex()) : "not recorded");
  html +=
      fact("Fixed point", fmt::format("{} fractional bits, total weight {}", ledger.scale_bits, ledger.total_weight));
  html += fact("Written by", escaped(ledger.program));
  for (const MissingIngredient& ingredient : run.missing) {
    html += fact("Not in the soup", fmt::format("{}: {}", escaped(ingredient.shard), escaped(ingredient.reason)));
  }
  html +=
      "</dl>\n<div class=\"frame\"><table>\n<thead><tr><th scope=\"col\">Ingredient</th><th "
      "scope=\"col\">Weight</th><th scope=\"col\">Images seen</th><th scope=\"col\" class=\"text\">Data</th><th "
      "scope=\"col\" class=\"text\">Weights of the U-Net</th></tr></thead>\n<tbody>\n";
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    const auto part = ingredient.parts.find("unet");
    html += fmt::format(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"text\">{}</td><td "
        "class=\"text\">{}</td></tr>\n",
        escaped(ingredient.name), ingredient.weight, grouped(static_cast<std::uint64_t>(ingredient.images)),
        ingredient.data_root_digest ? code(ingredient.data_root_digest->brief()) : "not recorded",
        part == ingredient.parts.end() ? "–" : code(part->second.digest.brief()));
  }
  return html + "</tbody></table></div>\n</section>\n";
}

std::string time_section(const RunData& run) {
  std::string rows;
  double total = 0.0;
  for (const auto& [stage, record] : run.stages) {
    if (!record || stage.kind == StageKind::report) {
      continue;
    }
    total += record->seconds;
    const bool trained = record->images > 0 && record->seconds > 0.0;
    rows += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n", escaped(stage.name),
                        human_seconds(record->seconds), trained ? grouped(record->images) : "–",
                        trained ? fmt::format("{:.0f}", static_cast<double>(record->images) / record->seconds) : "–");
  }
  if (rows.empty()) {
    return {};
  }
  return fmt::format(
      "<section>\n<h2>Times</h2>\n<p>{} in all, summed over stages; ingredients of different groups ran side by "
      "side.</p>\n"
      "<div class=\"frame\"><table>\n<thead><tr><th scope=\"col\">Stage</th><th scope=\"col\">Time</th><th "
      "scope=\"col\">Images seen</th><th scope=\"col\">Images/s</th></tr></thead>\n<tbody>\n{}</tbody></table></div>\n"
      "</section>\n",
      human_seconds(total), rows);
}

std::string reproduce_section(const RunData& run) {
  std::string html =
      "<section>\n<h2>Do it again</h2>\n<p>A run is a function of its configuration, its data and its base. Save the "
      "configuration below as <code>experiment.yaml</code>, then:</p>\n<pre>soup run experiment.yaml</pre>\n";
  if (!run.environment.empty()) {
    html += "<dl class=\"facts\">\n";
    for (const auto& [name, value] : run.environment.items()) {
      if (name != "schema" && !value.is_null()) {
        html += fact(name, escaped(plain_text(value)));
      }
    }
    html += "</dl>\n";
  }
  return html + "<details><summary>Configuration</summary>\n<pre>" + escaped(run.configuration) +
         "</pre></details>\n</section>\n";
}

}  // namespace soup
