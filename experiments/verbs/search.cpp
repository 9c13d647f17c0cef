// soup search: the best soup of some models by a score that a command gives.
#include "experiments/search.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/signals.hpp"
#include "experiments/verbs/enum_choice.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

namespace {

struct SearchArguments {
  std::vector<std::string> inputs;
  std::string recipe_file;
  std::optional<int> threads;
  bool lower_is_better = false;
  SearchRequest request;
};

void add_scoring(CLI::App& app, SearchArguments& arguments) {
  SearchRequest& request = arguments.request;
  app.add_option(
         "--score", request.command.text,
         "Command that scores the model at {model} on held-out data: its last line is a number, or JSON with\n"
         "\"score\" and \"standard_error\", or with \"scores\" of single items. {rank} and {local_rank} are this\n"
         "process's numbers, for its GPU")
      ->required()
      ->type_name("COMMAND");
  app.add_option("--confirm", request.confirm_command,
                 "The same on data that --score does not use: compares the result with equal weights at the end")
      ->type_name("COMMAND");
  app.add_flag("--lower-is-better", arguments.lower_is_better, "The score is an error or a loss");
  app.add_option("--margin", request.judgement.margin,
                 "Standard errors by which a soup must be better; 0 takes any gain, and scores without error")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--timeout", request.command.timeout_seconds, "Seconds for one score; no limit when left out")
      ->check(CLI::PositiveNumber);
}

void add_strategy(CLI::App& app, SearchRequest& request) {
  app.add_option("--strategy", request.strategy,
                 "greedy: which models, in equal shares; cma-es: weights of all of them")
      ->transform(one_of<Strategy>({{"greedy", Strategy::greedy}, {"cma-es", Strategy::cma_es}}))
      ->default_str("greedy");
  app.add_option("--budget", request.learned.budget, "cma-es: soups scored at most")
      ->check(CLI::Range(4, 1000000))
      ->capture_default_str();
  app.add_option("--population", request.learned.population, "cma-es: soups a generation; 4 + 3 ln(n-1) when left out")
      ->check(CLI::Range(2, 10000));
  app.add_option("--sigma", request.learned.sigma, "cma-es: first spread of the logarithms of weights")
      ->check(CLI::Range(0.001, 10.0))
      ->capture_default_str();
  app.add_option("--seed", request.learned.seed, "cma-es: of the weights drawn")->capture_default_str();
}

int run(const SearchArguments& arguments, const MpiRuntime& mpi) {
  SearchRequest request = arguments.request;
  if (arguments.inputs.empty() == arguments.recipe_file.empty()) {
    throw ConfigError(arguments.inputs.empty() ? "there is nothing to search" : "inputs and --recipe are both given",
                      "name models, or a --recipe that does");
  }
  if (!arguments.recipe_file.empty()) {
    request.recipe = read_recipe(arguments.recipe_file);
  }
  for (const std::string& text : arguments.inputs) {
    NamedPath named = named_path(text);
    request.recipe.inputs.push_back({std::move(named.name), std::move(named.path)});
  }
  const std::unique_ptr<Communicator> world = mpi.world();
  request.judgement.higher_is_better = !arguments.lower_is_better;
  request.command.rank = world->rank();
  request.command.local_rank = mpi.local_rank();
  request.work.threads = arguments.threads.value_or(std::max(1, usable_threads() / mpi.local_size()));
  install_stop_signals();
  Log log(world->rank());
  run_search(*world, request, log);
  return 0;
}

}  // namespace

Verb add_search(CLI::App& program, const MpiRuntime* mpi) {
  auto arguments = std::make_shared<SearchArguments>();
  CLI::App* app = program.add_subcommand("search", "Find the best soup by a held-out score");
  app->description(
      "Finds which models, or which weights, make the best soup, by a score that any command gives: greedy (Wortsman\n"
      "et al. 2022) or CMA-ES (Hansen 2016). The best is written as by `soup merge`; OUTPUT.search keeps every score, "
      "so\n"
      "the same command goes on after a stop. Under mpirun or srun each rank makes and scores soups of its own; the\n"
      "result does not depend on how many there are. Score on held-out data, never by the training loss.");
  app->add_option("inputs", arguments->inputs, "Models: PATH or NAME=PATH");
  app->add_option("--recipe", arguments->recipe_file, "Recipe (soup merge) without weights, in place of the inputs");
  app->add_option("--output", arguments->request.output,
                  "Soup to write: one file where it ends in .safetensors, else a folder")
      ->required();
  add_scoring(*app, *arguments);
  add_strategy(*app, arguments->request);
  app->add_option("--scratch", arguments->request.scratch,
                  "Folder for soups while they are scored, one a rank; OUTPUT.search when left out");
  app->add_option("--threads", arguments->threads, "Threads of each rank; the host's processors, shared, when left out")
      ->check(CLI::Range(1, 128));
  app->add_flag("--overwrite", arguments->request.work.overwrite, "Replace an output that exists");
  app->footer(
      help_footer("  soup search a b c --score \"python3 score.py {model}\" --output best\n"
                  "  mpirun -n 4 soup search a b c --strategy cma-es --budget 200 --output best \\\n"
                  "    --score \"CUDA_VISIBLE_DEVICES={local_rank} python3 score.py {model}\""));
  return {app, [arguments, mpi] {
            SOUP_REQUIRE(mpi != nullptr, "a search without MPI's runtime");
            return run(*arguments, *mpi);
          }};
}

}  // namespace soup
