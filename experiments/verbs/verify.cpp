// soup verify: every digest again.
#include "experiments/verify.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "core/error.hpp"
#include "core/signature.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

namespace {

const char* word_of(FindingState state) {
  switch (state) {
    case FindingState::good:
      return "good";
    case FindingState::bad:
      return "BAD ";
    case FindingState::not_checked:
      return "not checked";
  }
  throw InvariantError("a finding outside the enumeration");
}

}  // namespace

Verb add_verify(CLI::App& program) {
  struct Arguments {
    std::string path;
    std::string key;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app =
      program.add_subcommand("verify", "Recompute every digest of a run, soup, model, shard file or certificate");
  app->description(
      "Recomputes what the digests promise and says what agrees: every image and the Merkle root of shard files, the\n"
      "weights of models against their records, each soup with its sums and made again from its ingredients, the\n"
      "chain from image digests to the soup's ledger, its history and certificates of removal, and that every\n"
      "ingredient started from the same base. Changes nothing. What cannot be checked because a file is not here is\n"
      "listed as not checked. The exit code is 3 when anything disagrees.");
  app->add_option("path", arguments->path,
                  "Run folder, soup or model folder, shard file (.h5), or certificate of removal (.json)")
      ->required();
  app->add_option("--key", arguments->key, "Public key (PEM, Ed25519) that must have signed the certificates");
  app->footer(
      help_footer("  soup verify runs/quickstart\n  soup verify runs/quickstart/soup\n"
                  "  soup verify runs/quickstart/soup/removals/1-tango.json --key public.pem"));
  return {app, [arguments] {
            VerifyOptions options;
            if (!arguments->key.empty()) {
              options.signer = read_public_key(arguments->key);
            }
            std::size_t bad = 0;
            std::size_t not_checked = 0;
            const std::vector<Finding> findings = verify(arguments->path, options);
            for (const Finding& finding : findings) {
              bad += finding.state == FindingState::bad ? 1 : 0;
              not_checked += finding.state == FindingState::not_checked ? 1 : 0;
              fmt::print("{}  {}: {}\n", word_of(finding.state), finding.what.native(), finding.detail);
            }
            fmt::print("{} of {} agree{}\n", findings.size() - bad - not_checked, findings.size(),
                       not_checked == 0 ? "" : fmt::format(", {} not checked", not_checked));
            return static_cast<int>(bad == 0 ? ExitCode::success : ExitCode::data);
          }};
}

}  // namespace soup
