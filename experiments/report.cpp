#include "experiments/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "core/atomic_file.hpp"
#include "experiments/html.hpp"
#include "experiments/report_data.hpp"
#include "experiments/report_sections.hpp"
#include "experiments/report_style.hpp"

namespace soup {

namespace {

std::string lead(const RunData& run) {
  const std::size_t shards = run.experiment.data.shards.size();
  if (shards == 0) {
    return "This run trained a base model; it has no shards, so there is no soup to judge.";
  }
  return fmt::format(
      "{} shards; from one common base, one model (an ingredient) was trained per shard on {} images seen, with "
      "nothing "
      "passing between them. The soup is the average of the ingredients' weights. A paragon is one model trained on "
      "all "
      "shards together. All were given the same prompts, from captions held out of that training, and the same noise.",
      shards, grouped(run.experiment.ingredients.images));
}

}  // namespace

void write_report(const Experiment& experiment, const std::filesystem::path& path) {
  const RunData run = read_run(experiment);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n"
      "<title>{} – soup report</title>\n<style>{}</style>\n</head>\n<body>\n<header>\n"
      "<p class=\"eyebrow\">Diffusion soup report</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n<main>\n",
      escaped(experiment.name), report_style, escaped(experiment.name), lead(run));
  html += verdict_section(run);
  html += sample_section(run);
  html += score_section(run);
  html += difference_section(run);
  html += shard_loss_section(run);
  html += curve_section(run);
  html += drift_section(run);
  html += data_section(run);
  html += provenance_section(run);
  html += time_section(run);
  html += reproduce_section(run);
  html +=
      "</main>\n<footer>Method: Biggs et al., “Diffusion Soup”, ECCV 2024, arXiv 2406.08431. Kernel distance: "
      "Bińkowski "
      "et al. 2018. Fréchet distance: Heusel et al. 2017. Standard errors: bootstrap over prompts, or over real images "
      "for the held-out loss.</footer>\n</body>\n</html>\n";
  std::filesystem::create_directories(path.parent_path());
  write_file_atomically(path, html);
}

}  // namespace soup
