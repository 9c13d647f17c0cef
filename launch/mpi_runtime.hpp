// Owner of MPI's life: the first local of main, so that everything that communicates is destroyed before MPI is
// finalised.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/communicator.hpp"

namespace soup {

// Who started this process, read from its environment.
struct Launcher {
  bool mpi = false;    // a launcher that offers MPI its rank: mpirun, srun --mpi=pmix, ...
  std::string name;    // the variable that shows it, or ""
  int srun_tasks = 1;  // tasks of the Slurm step, whether or not they share an MPI job
};
// `get` is std::getenv or a table in tests.
Launcher detect_launcher(const std::function<const char*(const char*)>& get);

// An environment without what a launcher put there, so that a program started in it is a job of its own, not this rank
// once more. What allows Open MPI's mpirun to be run as root stays.
std::vector<std::string> without_launcher(const std::vector<std::string>& environment);

class MpiRuntime {
 public:
  // Initialises MPI (FUNNELED) if this process was started by mpirun, srun or another PMI launcher; otherwise does
  // nothing and world() is Self. Throws CommError when MPI fails, ConfigError when srun started several tasks that do
  // not share an MPI job (they would overwrite each other's files).
  MpiRuntime(int& argc, char**& argv);
  // Waits for all ranks and finalises; while an exception is in flight it ends the job at once (exit code 70).
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  // Runs the program: returns body's result, or prints the error that left it on stderr and returns its exit code. For
  // main's return statement. When other ranks have not come to their end too within `patience_seconds` of a failure,
  // they may be waiting for this rank: the job is aborted with that code. An error that all ranks agreed on is printed
  // once.
  int run(const std::function<int()>& body, double patience_seconds = 2.0);

  // A communicator over all ranks, on a duplicate of MPI_COMM_WORLD.
  [[nodiscard]] std::unique_ptr<Communicator> world() const;
  [[nodiscard]] bool launched() const { return active_; }
  // Rank among the processes of this host, and how many there are.
  [[nodiscard]] int local_rank() const { return local_rank_; }
  [[nodiscard]] int local_size() const { return local_size_; }
  // Ends all ranks of the job with this exit code; never returns. Without MPI: _exit.
  [[noreturn]] void abort(int exit_code) noexcept;

 private:
  struct Exit;

  bool active_ = false;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::unique_ptr<Exit> exit_;  // the meeting of all ranks at the end
};

// As MpiRuntime::abort, for code that has no runtime at hand (the watchdog's thread).
[[noreturn]] void abort_job(int exit_code) noexcept;
// Rank in MPI_COMM_WORLD while MPI is initialised, else 0.
[[nodiscard]] int job_rank() noexcept;

}  // namespace soup
