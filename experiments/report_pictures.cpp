// The report's pictures: sample grid, loss curves, drift.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/atomic_file.hpp"
#include "experiments/html.hpp"
#include "experiments/plot.hpp"
#include "experiments/report_sections.hpp"

namespace soup {

namespace {

struct GridRow {
  std::string name;
  std::string css;      // class of the name cell
  std::string picture;  // data: URI of the row's images, side by side
};

std::filesystem::path evaluation_folder(const RunData& run) {
  const auto stage = std::ranges::find_if(
      run.stages, [](const StageSummary& summary) { return summary.stage.kind == StageKind::evaluate; });
  return run.experiment.run_folder / (stage == run.stages.end() ? "evaluation" : stage->stage.folder);
}

void add_row(const RunData& run, const std::string& model, const std::string& weights, std::vector<GridRow>& rows) {
  const std::filesystem::path path = evaluation_folder(run) / (record_stem(model, weights) + ".png");
  if (std::filesystem::exists(path)) {
    const std::string bytes = read_file(path);
    rows.push_back({display_name(model), model == "soup" ? "name soup" : "name",
                    data_uri("image/png", std::as_bytes(std::span(bytes)))});
  }
}

std::string grid(const std::vector<GridRow>& rows, const std::vector<std::string>& prompts) {
  const std::size_t columns = prompts.size();
  std::string html = fmt::format(
      "<div class=\"frame\"><div class=\"grid\" style=\"grid-template-columns: minmax(96px, 150px) repeat({}, "
      "minmax(0, 1fr))\">\n<div></div>",
      columns);
  for (const std::string& prompt : prompts) {
    html += fmt::format("<div class=\"prompt\">{}</div>", escaped(prompt));
  }
  for (const GridRow& row : rows) {
    html += fmt::format("\n<div class=\"{}\">{}</div>", row.css, escaped(row.name));
    // One picture per row, shown through windows, so that a row is one data: URI however many columns it has.
    const std::string variable = fmt::format("--row: url({})", row.picture);
    html += fmt::format("<div style=\"display: contents; {}\">", variable);
    for (std::size_t i = 0; i < columns; ++i) {
      const double place = columns > 1 ? 100.0 * static_cast<double>(i) / static_cast<double>(columns - 1) : 0.0;
      html += fmt::format(
          "<div class=\"cell\" role=\"img\" aria-label=\"{}: {}\" style=\"background-image: var(--row); "
          "background-size: "
          "{}% 100%; background-position: {:.4f}% 0\"></div>",
          escaped(row.name), escaped(prompts[i]), 100 * columns, place);
    }
    html += "</div>";
  }
  return html + "\n</div></div>\n";
}

using Points = std::vector<std::pair<double, double>>;

Points in_thousands(Points points) {
  for (auto& [images, loss] : points) {
    images /= 1000.0;
  }
  return points;
}

std::vector<Curve> curves_of(const RunData& run, bool base) {
  std::vector<Curve> curves;
  int colour = 0;
  for (const StageSummary& summary : run.stages) {
    const auto found = run.curves.find(summary.stage.name);
    if (found == run.curves.end() || (summary.stage.kind == StageKind::base) != base) {
      continue;
    }
    const std::string name = display_name(summary.stage.name);
    if (!found->second.training.empty()) {
      curves.push_back({name, in_thousands(found->second.training), colour, false});
    }
    if (!found->second.held_out.empty()) {
      curves.push_back({name + ", held out", in_thousands(found->second.held_out), colour, true});
    }
    ++colour;
  }
  return curves;
}

std::string plot_frame(const std::string& title, const Plot& plot) {
  return fmt::format("<h3>{}</h3>\n<div class=\"frame\"><div class=\"plot\">{}</div></div>\n", escaped(title),
                     draw_svg(plot));
}

}  // namespace

std::string sample_section(const RunData& run) {
  const auto record = std::ranges::find_if(run.records, [](const auto& entry) { return !entry.second.images.empty(); });
  if (record == run.records.end()) {
    return {};
  }
  std::vector<std::string> prompts;
  const auto columns = static_cast<std::size_t>(run.experiment.evaluation.grid_prompts);
  for (const ImageRecord& image : record->second.images) {
    if (prompts.size() < columns) {
      prompts.push_back(image.prompt);
    }
  }
  std::string html =
      "<section>\n<h2>What they draw</h2>\n<p>One column is one prompt, and the same noise in every row but the first. "
      "The prompts are the first of the evaluation, not chosen. Ingredients and paragons were trained on no picture of "
      "these names, in any style.</p>\n";
  const auto rows_of = [&run](const std::string& weights, bool leave_one_out) {
    std::vector<GridRow> rows;
    if (!leave_one_out) {
      add_row(run, "real", "", rows);
    }
    for (const std::string& model : run.models) {
      if (model.starts_with("soup/") == leave_one_out) {
        add_row(run, model, weights, rows);
      }
    }
    return rows;
  };
  html += "<h3>EMA weights</h3>\n" + grid(rows_of("ema", false), prompts);
  if (const std::vector<GridRow> rows = rows_of("ema", true); !rows.empty()) {
    html += "<details><summary>Soups with one shard left out</summary>\n" + grid(rows, prompts) + "</details>\n";
  }
  html += "<details><summary>The same models with raw weights</summary>\n" + grid(rows_of("raw", false), prompts) +
          "</details>\n";
  return html + "</section>\n";
}

std::string curve_section(const RunData& run) {
  std::string html;
  const auto add = [&html, &run](const std::string& title, const std::string& name, bool base) {
    std::vector<Curve> curves = curves_of(run, base);
    if (!curves.empty()) {
      html += plot_frame(title, {name, "images seen, in thousands", "denoising loss", true, std::move(curves)});
    }
  };
  add("Base", "loss_base", true);
  add("Ingredients and paragons", "loss_shards", false);
  return html.empty()
             ? ""
             : "<section>\n<h2>Loss curves</h2>\n<p>Mean training loss between two points; dashed: held-out loss "
               "of the EMA weights. Logarithmic axis.</p>\n" +
                   html + "</section>\n";
}

std::string drift_section(const RunData& run) {
  if (!run.drift || run.drift->models.empty()) {
    return {};
  }
  const Drift& drift = *run.drift;
  const double largest = *std::ranges::max_element(drift.relative);
  std::string html =
      "<section>\n<h2>Drift from the base</h2>\n<p>How far training moved the raw weights, |w − base| / |base|, and "
      "the "
      "cosine between the movements of two models: 1 the same way, 0 unrelated. Averaging unrelated movements shortens "
      "them.</p>\n<div class=\"frame\"><table>\n<thead><tr><th scope=\"col\">Model</th><th scope=\"col\" "
      "class=\"text\">Relative drift</th>";
  for (const std::string& model : drift.models) {
    html += fmt::format("<th scope=\"col\">{}</th>", escaped(display_name(model)));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (std::size_t i = 0; i < drift.models.size(); ++i) {
    const double share = largest > 0.0 ? drift.relative[i] / largest : 0.0;
    html += fmt::format(
        "<tr{}><th scope=\"row\">{}</th><td class=\"text\"><span class=\"bar\" style=\"width: {:.1f}ch\"></span> "
        "{}</td>",
        drift.models[i] == "soup" ? " class=\"soup\"" : "", escaped(display_name(drift.models[i])), 12.0 * share,
        decimal(drift.relative[i], 3));
    for (std::size_t j = 0; j < drift.models.size(); ++j) {
      html += i == j ? "<td class=\"se\">1</td>" : fmt::format("<td>{}</td>", decimal(drift.cosines[i][j], 2));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n</section>\n";
}

}  // namespace soup
