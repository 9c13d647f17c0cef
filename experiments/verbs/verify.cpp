// soup verify: every digest again.
#include "experiments/verify.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "core/error.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

Verb add_verify(CLI::App& program) {
  auto path = std::make_shared<std::string>();
  CLI::App* app = program.add_subcommand("verify", "Recompute every digest of a run, soup, model or shard file");
  app->description(
      "Recomputes what the digests promise and says what agrees: every image and the Merkle root of shard files, the\n"
      "weights of models against their records, each soup made again from its ingredients, and that every ingredient\n"
      "started from the same base. Changes nothing. The exit code is 3 when anything disagrees.");
  app->add_option("path", *path, "Run folder, soup or model folder, or shard file (.h5)")->required();
  app->footer(help_footer("  soup verify runs/quickstart\n  soup verify runs/quickstart/soup"));
  return {app, [path] {
            std::size_t bad = 0;
            const std::vector<Finding> findings = verify(*path);
            for (const Finding& finding : findings) {
              bad += finding.good ? 0 : 1;
              fmt::print("{}  {}: {}\n", finding.good ? "good" : "BAD ", finding.what.native(), finding.detail);
            }
            fmt::print("{} of {} agree\n", findings.size() - bad, findings.size());
            return static_cast<int>(bad == 0 ? ExitCode::success : ExitCode::data);
          }};
}

}  // namespace soup
