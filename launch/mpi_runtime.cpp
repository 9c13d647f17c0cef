// Owner of MPI's life: start by need, end together or abort.
#include "launch/mpi_runtime.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>
#include <regex>
#include <thread>

#include "core/error.hpp"
#include "launch/mpi_communicator.hpp"

namespace soup {

namespace {

constexpr std::int64_t nothing = -std::numeric_limits<std::int64_t>::max();  // can be negated, unlike min()

// What a rank brings to the meeting at the end; combined by maximum.
struct Ending {
  std::int64_t code = 0;
  std::int64_t lowest_failed = nothing;  // -rank
  std::int64_t text = nothing;           // hash of the error's text, and its negative:
  std::int64_t negative_text = nothing;  // equal texts on all failed ranks have equal extremes
};

// agree() puts "rank 3: " before another rank's message; without it all ranks hold the same text.
std::string without_rank(const std::string& text) {
  static const std::regex rank_of_agree("^(a bug in soup: )?rank [0-9]+: ");
  return std::regex_replace(text, rank_of_agree, "$1", std::regex_constants::format_first_only);
}

void print_error(std::string_view text) {
  const std::string line = "soup: error: " + std::string(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

Launcher detect_launcher(const std::function<const char*(const char*)>& get) {
  Launcher launcher;
  // Open MPI's mpirun; PMIx servers (srun --mpi=pmix, prun); PMI-1 and -2 (srun --mpi=pmi2, MPICH's Hydra).
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (get(variable) != nullptr) {
      launcher.mpi = true;
      launcher.name = variable;
      break;
    }
  }
  // SLURM_PROCID alone shows nothing: sbatch sets it too, in the script that runs once.
  const char* tasks = get("SLURM_STEP_NUM_TASKS");
  if (get("SLURM_PROCID") != nullptr && tasks != nullptr) {
    int count = 1;
    const auto parsed = std::from_chars(tasks, tasks + std::strlen(tasks), count);
    launcher.srun_tasks = parsed.ec == std::errc{} ? count : 1;
  }
  return launcher;
}

std::vector<std::string> without_launcher(const std::vector<std::string>& environment) {
  const auto is_of_launcher = [](const std::string& variable) {
    constexpr auto prefixes = std::to_array<std::string_view>({"OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_STEP"});
    constexpr auto names = std::to_array<std::string_view>(
        {"SLURM_PROCID=", "SLURM_LOCALID=", "SLURM_NODEID=", "SLURM_GTIDS=", "SLURM_SRUN_COMM_HOST="});
    const auto starts = [&](std::string_view prefix) { return variable.starts_with(prefix); };
    return !variable.starts_with("OMPI_ALLOW_RUN_AS_ROOT") &&
           (std::ranges::any_of(prefixes, starts) || std::ranges::any_of(names, starts));
  };
  std::vector<std::string> result;
  std::ranges::remove_copy_if(environment, std::back_inserter(result), is_of_launcher);
  return result;
}

// The meeting of all ranks at the end of the program, on a communicator of its own, so that it crosses no collective
// that another rank still waits in.
struct MpiRuntime::Exit {
  explicit Exit(MPI_Comm world) {
    check_mpi(MPI_Comm_dup(world, &comm), "MPI_Comm_dup");
    check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }

  // False when not all ranks came within `patience` (seconds).
  bool meet(const Ending& mine, Ending& all, double patience) {
    met = true;
    MPI_Request request = MPI_REQUEST_NULL;
    if (MPI_Iallreduce(&mine, &all, sizeof(Ending) / sizeof(std::int64_t), MPI_INT64_T, MPI_MAX, comm, &request) !=
        MPI_SUCCESS) {
      return false;
    }
    const auto start = std::chrono::steady_clock::now();
    for (;;) {
      int done = 0;
      if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return false;
      }
      if (done != 0) {
        return true;
      }
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > patience) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }

  MPI_Comm comm = MPI_COMM_NULL;
  bool met = false;
};

MpiRuntime::MpiRuntime(int& argc, char**& argv) {
  const Launcher launcher = detect_launcher([](const char* name) { return std::getenv(name); });
  active_ = launcher.mpi;
  int size = 1;
  if (active_) {
    int provided = MPI_THREAD_SINGLE;
    check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    exit_ = std::make_unique<Exit>(MPI_COMM_WORLD);
    if (provided < MPI_THREAD_FUNNELED) {
      throw CommError("MPI_Init_thread", "MPI offers thread level " + std::to_string(provided) + ", soup needs " +
                                             std::to_string(MPI_THREAD_FUNNELED) + " (MPI_THREAD_FUNNELED)");
    }
    MPI_Comm host = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
              "MPI_Comm_split_type");
    check_mpi(MPI_Comm_rank(host, &local_rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(host, &local_size_), "MPI_Comm_size");
    check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  }
  if (size == 1 && launcher.srun_tasks > 1) {
    throw ConfigError("srun started " + std::to_string(launcher.srun_tasks) +
                          " tasks, but each of them is an MPI job of 1 rank: they would write the same files",
                      "start them as one job: srun --mpi=pmix ... (srun --mpi=list shows what this cluster offers), or "
                      "use mpirun");
  }
}

MpiRuntime::~MpiRuntime() {
  if (!active_) {
    return;
  }
  if (std::uncaught_exceptions() > 0) {
    abort(static_cast<int>(ExitCode::invariant));
  }
  if (!exit_->met) {
    Ending all;
    exit_->meet(Ending{}, all, std::numeric_limits<double>::infinity());
  }
  MPI_Comm_free(&exit_->comm);
  MPI_Finalize();
}

int MpiRuntime::run(const std::function<int()>& body, double patience_seconds) {
  int code = 0;
  std::string text;
  try {
    code = body();
  } catch (const Error& error) {
    code = static_cast<int>(error.exit_code());
    text = error.what();
  } catch (const std::exception& error) {
    code = static_cast<int>(ExitCode::invariant);
    text = std::string("unexpected: ") + error.what();
  }
  Ending mine;
  if (code != 0) {
    const auto hash = static_cast<std::int64_t>(std::hash<std::string>{}(without_rank(text)) >> 2);
    mine = {code, -job_rank(), hash, -hash};
  }
  Ending all = mine;
  const double patience = code == 0 ? std::numeric_limits<double>::infinity() : patience_seconds;
  const bool together = !active_ || exit_->meet(mine, all, patience);
  const bool one_text = together && all.text == -all.negative_text;
  if (!text.empty() && (!one_text || -all.lowest_failed == job_rank())) {
    print_error(text);
  }
  if (!together) {
    abort(code == 0 ? static_cast<int>(ExitCode::communication) : code);
  }
  return code;
}

std::unique_ptr<Communicator> MpiRuntime::world() const {
  if (!active_) {
    return make_self_communicator();
  }
  return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD);
}

void MpiRuntime::abort(int exit_code) noexcept {
  abort_job(exit_code);
}

void abort_job(int exit_code) noexcept {
  std::fflush(nullptr);
  int initialised = 0;
  int finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (initialised != 0 && finalised == 0) {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }
  std::_Exit(exit_code);
}

int job_rank() noexcept {
  int initialised = 0;
  int finalised = 0;
  int rank = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (initialised != 0 && finalised == 0) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  }
  return rank;
}

}  // namespace soup
