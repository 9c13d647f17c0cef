// Communicator over MPI for host memory: checked, chunked, and asleep while it waits for other ranks.
//
// All collectives are the non-blocking ones, completed by MPI_Test: a blocking call spins inside MPI and, with more
// ranks than cores, takes the core from the ranks that still compute. Each collective first meets: a tiny reduction in
// which ranks sleep until all have arrived, and which carries what was called. The payload moves after it, when nobody
// computes, with MPI_Test and sched_yield only, since its transfer advances only inside MPI_Test.
#include "launch/mpi_communicator.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "core/process_identity.hpp"

namespace soup {

namespace {

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(comm, &copy), "MPI_Comm_dup");
  return copy;
}

// Between two tests of a request, of which there were `tests`.
void rest(int tests, bool asleep) {
  // 50 tests pass in some 20 us, the time ranks in step need; 200 sleeps of 50 us bound the loss of those nearly in
  // step; after these 20 ms half a millisecond more does not matter.
  if (!asleep || tests < 50) {
    sched_yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(tests < 250 ? 50 : 500));
  }
}

// A datatype that frees itself.
class Datatype {
 public:
  // `bytes` bytes, the next element of this type beginning `stride` bytes after this one.
  Datatype(int bytes, std::size_t stride) {
    MPI_Datatype packed = MPI_DATATYPE_NULL;
    check_mpi(MPI_Type_contiguous(bytes, MPI_BYTE, &packed), "MPI_Type_contiguous");
    const int resized = MPI_Type_create_resized(packed, 0, static_cast<MPI_Aint>(stride), &type_);
    check_mpi(MPI_Type_free(&packed), "MPI_Type_free");
    check_mpi(resized, "MPI_Type_create_resized");
    check_mpi(MPI_Type_commit(&type_), "MPI_Type_commit");
  }
  ~Datatype() { MPI_Type_free(&type_); }
  Datatype(const Datatype&) = delete;
  Datatype& operator=(const Datatype&) = delete;

  [[nodiscard]] MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

}  // namespace

void check_mpi(int code, std::string_view call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) {
    length = 0;
  }
  throw CommError(call, "MPI error " + std::to_string(code) + " (" +
                            std::string(text.data(), static_cast<std::size_t>(length)) + ") on host " + host_name());
}

MpiCommunicator::MpiCommunicator(MPI_Comm comm, std::size_t max_count)
    : MpiCommunicator(Owned{}, duplicate(comm), max_count) {}

MpiCommunicator::MpiCommunicator(Owned, MPI_Comm comm, std::size_t max_count)
    : comm_(comm), max_count_(std::clamp<std::size_t>(max_count, 1, INT_MAX)) {
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
}

MpiCommunicator::~MpiCommunicator() {
  // MPI_Comm_free is collective: while an exception unwinds this rank alone, the others may never call it.
  if (std::uncaught_exceptions() == 0) {
    MPI_Comm_free(&comm_);
  }
}

void MpiCommunicator::complete(MPI_Request& request, std::string_view call, bool asleep) {
  for (int tests = 0;; ++tests) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call);
    if (done != 0) {
      return;
    }
    rest(tests, asleep);
  }
}

void MpiCommunicator::meet(CollectiveCall call, std::size_t count, int root) {
  const CallExtremes mine = extremes_of(call, count, root);
  CallExtremes most{};
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(
      MPI_Iallreduce(mine.data(), most.data(), static_cast<int>(mine.size()), MPI_INT64_T, MPI_MAX, comm_, &request),
      "MPI_Iallreduce");
  complete(request, name_of(call), true);
  require_same_call(call, count, rank_, most);
}

template <typename T>
void MpiCommunicator::all_reduce(CollectiveCall call, std::span<T> values, MPI_Datatype type, MPI_Op operation) {
  meet(call, values.size());
  for (std::size_t done = 0; done < values.size(); done += max_count_) {
    const std::size_t count = std::min(max_count_, values.size() - done);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Iallreduce(MPI_IN_PLACE, values.data() + done, static_cast<int>(count), type, operation, comm_, &request),
        "MPI_Iallreduce");
    complete(request, name_of(call), false);
  }
}

void MpiCommunicator::all_reduce_sum(std::span<float> values) {
  all_reduce(CollectiveCall::sum_float, values, MPI_FLOAT, MPI_SUM);
}

void MpiCommunicator::all_reduce_sum(std::span<double> values) {
  all_reduce(CollectiveCall::sum_double, values, MPI_DOUBLE, MPI_SUM);
}

void MpiCommunicator::all_reduce_sum(std::span<std::int64_t> values) {
  all_reduce(CollectiveCall::sum_int64, values, MPI_INT64_T, MPI_SUM);
}

namespace {

// Requests of one sum's pieces.
class MpiPendingSum final : public PendingSum {
 public:
  MpiPendingSum(MPI_Comm comm, std::span<float> values, std::size_t max_count) {
    for (std::size_t done = 0; done < values.size(); done += max_count) {
      const std::size_t count = std::min(max_count, values.size() - done);
      requests_.push_back(MPI_REQUEST_NULL);
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, values.data() + done, static_cast<int>(count), MPI_FLOAT, MPI_SUM, comm,
                               &requests_.back()),
                "MPI_Iallreduce");
    }
  }

  bool test() override {
    int done = 0;
    check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE),
              "start_sum(float)");
    return done != 0;
  }
  void wait() override {
    for (int tests = 0; !test(); ++tests) {
      rest(tests, true);
    }
  }

 private:
  std::vector<MPI_Request> requests_;
};

}  // namespace

std::unique_ptr<PendingSum> MpiCommunicator::start_sum(std::span<float> values) {
  return std::make_unique<MpiPendingSum>(comm_, values, max_count_);
}

void MpiCommunicator::all_reduce_max(std::span<double> values) {
  all_reduce(CollectiveCall::max_double, values, MPI_DOUBLE, MPI_MAX);
}

void MpiCommunicator::all_reduce_max(std::span<std::int64_t> values) {
  all_reduce(CollectiveCall::max_int64, values, MPI_INT64_T, MPI_MAX);
}

void MpiCommunicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  const auto ranks = static_cast<std::size_t>(size_);
  SOUP_REQUIRE(all.size() == ranks * mine.size(), "all_gather of " + std::to_string(ranks) + " times " +
                                                      std::to_string(mine.size()) + " bytes into " +
                                                      std::to_string(all.size()));
  meet(CollectiveCall::gather, mine.size());
  for (std::size_t done = 0; done < mine.size(); done += max_count_) {
    const auto count = static_cast<int>(std::min(max_count_, mine.size() - done));
    // Each rank's piece lands in its own row of `all`, so a received element is `count` bytes with a row's extent.
    const Datatype row(count, mine.size());
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgather(mine.data() + done, count, MPI_BYTE, all.data() + done, 1, row.get(), comm_, &request),
              "MPI_Iallgather");
    complete(request, name_of(CollectiveCall::gather), false);
  }
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  SOUP_REQUIRE(root >= 0 && root < size_,
               "broadcast from root " + std::to_string(root) + " of " + std::to_string(size_) + " ranks");
  meet(CollectiveCall::broadcast, bytes.size(), root);
  for (std::size_t done = 0; done < bytes.size(); done += max_count_) {
    const auto count = static_cast<int>(std::min(max_count_, bytes.size() - done));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(bytes.data() + done, count, MPI_BYTE, root, comm_, &request), "MPI_Ibcast");
    complete(request, name_of(CollectiveCall::broadcast), false);
  }
}

void MpiCommunicator::barrier() {
  meet(CollectiveCall::barrier, 0);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int colour, int key) {
  SOUP_REQUIRE(colour >= 0, "split with colour " + std::to_string(colour));
  meet(CollectiveCall::split, 0);
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm_, colour, key, &part), "MPI_Comm_split");
  return std::unique_ptr<Communicator>(new MpiCommunicator(Owned{}, part, max_count_));
}

}  // namespace soup
