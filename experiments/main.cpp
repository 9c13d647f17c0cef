// soup: the light executable. Verbs that need LibTorch live in soup-torch beside it, which this one becomes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <string_view>

#include "core/error.hpp"
#include "experiments/environment.hpp"
#include "experiments/verbs/become_torch.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

namespace {

// Mapping libtorch takes a quarter of a second at every start; verbs that do without it answer at once.
constexpr auto torch_verbs = std::to_array<std::pair<const char*, const char*>>({
    {"run", "Run an experiment: all its stages in order, skipping those that are done"},
    {"train", "Run one training of an experiment: its base, one shard's ingredient, or the paragon"},
    {"sample", "Make images from captions with any model folder"},
    {"convert", "A model folder to one file of the original layout, and back"},
    {"encode", "Put a model's latents and text states into a shard file"},
    {"evaluate", "Score the models of a run on held-out captions and images"},
    {"score", "Score any model on the held-out data of an experiment's run"},
#ifdef SOUP_CUDA  // it names the GPUs and the NCCL that a run would see, and this program maps no CUDA library
    {"plan", "Show what a run would do; writes nothing"},
#endif
});

bool is_torch_verb(std::string_view word) {
  return std::ranges::any_of(torch_verbs, [word](const auto& verb) { return verb.first == word; });
}

std::string commit_text() {
  return soup_commit().empty() ? "" : fmt::format(" ({})", soup_commit());
}

int run(const MpiRuntime* mpi, int argc, char** argv) {
  CLI::App program(
      "soup trains one diffusion model per shard of a data set and averages their weights (Diffusion Soup).\n"
      "A YAML file says what; start with: soup plan configs/quickstart.yaml");
  program.name("soup");
  program.set_version_flag("--version", fmt::format("soup {}{}", soup_version(), commit_text()));
  program.require_subcommand(1);
  for (const auto& [name, purpose] : torch_verbs) {
    program.add_subcommand(name, purpose);
  }
  std::vector<Verb> verbs;
#ifndef SOUP_CUDA
  verbs.push_back(add_plan(program));
#endif
  for (const auto add : {add_merge, add_add, add_remove, add_diff, add_report, add_status, add_submit, add_verify}) {
    verbs.push_back(add(program));
  }
  verbs.push_back(add_search(program, mpi));
  for (Verb& verb : add_import(program)) {
    verbs.push_back(std::move(verb));
  }
  program.footer(help_footer("  soup run configs/quickstart.yaml\n  soup <verb> --help says all about a verb"));
  return run_verbs(program, verbs, argc, argv);
}

}  // namespace

}  // namespace soup

int main(int argc, char** argv) {
  try {
    const std::string_view verb = argc > 1 ? argv[1] : "";
    if (soup::is_torch_verb(verb)) {
      soup::become_soup_torch(argv);
    }
    if (verb == "search") {  // the one light verb that works on several ranks
      soup::MpiRuntime mpi(argc, argv);
      return mpi.run([&] { return soup::run(&mpi, argc, argv); });
    }
    return soup::run(nullptr, argc, argv);
  } catch (const soup::Error& error) {
    fmt::print(stderr, "soup: error: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    fmt::print(stderr, "soup: error: {}\n  hint: this is a bug; please report it with this message\n", error.what());
    return static_cast<int>(soup::ExitCode::invariant);
  }
}
