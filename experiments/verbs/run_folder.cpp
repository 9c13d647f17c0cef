// The experiment that a run folder holds.
#include "experiments/verbs/run_folder.hpp"

#include "core/error.hpp"

namespace soup {

namespace fs = std::filesystem;

Experiment experiment_of_run(const fs::path& folder) {
  std::error_code error;
  // Before its first job has started, a run that was submitted has what its jobs read alone.
  for (const fs::path& file : {folder / "experiment.yaml", folder / "jobs" / "experiment.yaml"}) {
    if (fs::is_regular_file(file, error)) {
      Experiment experiment = load_experiment(file, {});
      experiment.run_folder = folder;
      return experiment;
    }
  }
  throw DataError(folder, "is no run folder: it holds no experiment.yaml",
                  "give the folder that `soup run` made, as runs/quickstart");
}

}  // namespace soup
