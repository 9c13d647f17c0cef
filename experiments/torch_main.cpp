// soup-torch: the verbs that train and sample; `soup` becomes this program for them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "core/signals.hpp"
#include "experiments/verbs/torch_verbs.hpp"
#include "launch/mpi_runtime.hpp"

namespace soup {

void print_remarks(const DiffusionModel& model) {
  for (const std::string& remark : model.remarks) {
    fmt::print(stderr, "soup: {}\n", remark);
  }
}

namespace {

int run(MpiRuntime& mpi, int argc, char** argv) {
  CLI::App program("The verbs of soup that train and sample.");
  program.name("soup");
  program.require_subcommand(1);
  std::vector<Verb> verbs = {add_run(program, mpi), add_train(program, mpi),    add_sample(program),
                             add_score(program),    add_evaluate(program, mpi), add_convert(program),
                             add_encode(program)};
#ifdef SOUP_CUDA
  verbs.push_back(add_plan(program));
#endif
  install_stop_signals();
  return run_verbs(program, verbs, argc, argv);
}

}  // namespace

}  // namespace soup

int main(int argc, char** argv) {
  try {
    soup::MpiRuntime mpi(argc, argv);
    return mpi.run([&] { return soup::run(mpi, argc, argv); });
  } catch (const soup::Error& error) {
    fmt::print(stderr, "soup: error: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
