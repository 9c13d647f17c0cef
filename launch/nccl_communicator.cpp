// Communicator over NCCL: payloads on the GPU, meetings and small spans over the communicator of the hosts.
//
// The communicator is a non-blocking one: a call of NCCL may go on after it has returned, and its errors come later, so
// that every call is followed until NCCL has it done or failed. Collectives run on a stream of their own, tied to the
// default stream by events; a thread follows those that no caller waits for.
#include "launch/nccl_communicator.hpp"

#include <fmt/format.h>
#include <nccl.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "launch/collective_call.hpp"
#include "launch/cuda_objects.hpp"
#include "launch/mpi_runtime.hpp"

namespace soup {

namespace {

// LibTorch's own, unless it is told otherwise.
constexpr cudaStream_t default_stream = nullptr;

constexpr ncclDataType_t type_of(float) {
  return ncclFloat32;
}
constexpr ncclDataType_t type_of(double) {
  return ncclFloat64;
}
constexpr ncclDataType_t type_of(std::int64_t) {
  return ncclInt64;
}

void check_nccl(ncclResult_t code, ncclComm_t comm, std::string_view call) {
  if (code != ncclSuccess && code != ncclInProgress) {
    const char* last = ncclGetLastError(comm);
    throw CommError(call,
                    fmt::format("NCCL: {} ({}) on host {}", ncclGetErrorString(code),
                                last == nullptr || *last == '\0' ? "no more is known" : last, host_name()),
                    "NCCL_DEBUG=WARN in the environment shows what NCCL has to say");
  }
}

// Between two looks at something that others have to bring about.
void rest(int looks) {
  if (looks < 200) {
    sched_yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(looks < 1000 ? 20 : 200));
  }
}

// A communicator of NCCL's, which is aborted where nobody ended it: an end is collective, and while an exception
// unwinds this rank alone the others may never come to it.
class OwnedComm {
 public:
  OwnedComm() = default;
  OwnedComm(OwnedComm&& other) noexcept : comm_(std::exchange(other.comm_, nullptr)) {}
  OwnedComm& operator=(OwnedComm&&) = delete;
  ~OwnedComm() { abort(); }

  void abort() {
    if (comm_ != nullptr) {
      ncclCommAbort(release());
    }
  }
  [[nodiscard]] ncclComm_t get() const { return comm_; }
  [[nodiscard]] ncclComm_t* place() { return &comm_; }
  [[nodiscard]] ncclComm_t release() { return std::exchange(comm_, nullptr); }

 private:
  ncclComm_t comm_ = nullptr;
};

// Waits until NCCL has done what it returned `code` for. Throws CommError.
void settle(ncclResult_t code, ncclComm_t comm, std::string_view call) {
  for (int looks = 0;; ++looks) {
    check_nccl(code, comm, call);
    if (code == ncclSuccess) {
      return;
    }
    rest(looks);
    check_nccl(ncclCommGetAsyncError(comm, &code), comm, "ncclCommGetAsyncError");
  }
}

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

bool is_gpu_memory(const void* pointer) {
  cudaPointerAttributes attributes{};
  check_cuda(cudaPointerGetAttributes(&attributes, pointer), "cudaPointerGetAttributes");
  return attributes.type == cudaMemoryTypeDevice;
}

// Follows collectives that nobody waits for. A failure ends the job: the thread that queued them may be waiting on the
// GPU for what will never come.
class Follower {
 public:
  Follower(ncclComm_t comm, int gpu, std::shared_ptr<Watchdog> watchdog)
      : comm_(comm), gpu_(gpu), watchdog_(std::move(watchdog)), rank_(job_rank()), thread_([this] { follow(); }) {}
  ~Follower() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  void add(std::shared_ptr<CudaEvent> end, const std::string& name) {
    {
      const std::lock_guard lock(mutex_);
      queued_.emplace_back(std::move(end), name);
      if (watchdog_ != nullptr) {
        queued_.back().guard = std::make_unique<Watchdog::Guard>(*watchdog_, name + ", queued on the GPU");
      }
    }
    changed_.notify_all();
  }

 private:
  struct Queued {
    Queued(std::shared_ptr<CudaEvent> end_event, std::string what) : end(std::move(end_event)), name(std::move(what)) {}
    std::shared_ptr<CudaEvent> end;
    std::string name;
    std::unique_ptr<Watchdog::Guard> guard;
  };

  void follow() {
    constexpr auto between_looks = std::chrono::milliseconds(10);
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stop_ || !queued_.empty(); });
      if (stop_) {
        return;
      }
      try {
        check_cuda(cudaSetDevice(gpu_), "cudaSetDevice");
        ncclResult_t state = ncclSuccess;
        check_nccl(ncclCommGetAsyncError(comm_, &state), comm_, "ncclCommGetAsyncError");
        check_nccl(state, comm_, queued_.front().name);
        while (!queued_.empty() && queued_.front().end->is_reached()) {
          queued_.pop_front();
        }
      } catch (const CommError& error) {
        const std::string text = fmt::format("soup: error: {}\n  on rank {}, while on its way: {}; the job is ended\n",
                                             error.what(), rank_, queued_.front().name);
        std::fwrite(text.data(), 1, text.size(), stderr);
        abort_job(static_cast<int>(ExitCode::communication));
      }
      changed_.wait_for(lock, between_looks, [this] { return stop_; });
    }
  }

  ncclComm_t comm_;
  int gpu_;
  std::shared_ptr<Watchdog> watchdog_;
  int rank_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::deque<Queued> queued_;
  std::thread thread_;
};

class QueuedSum final : public PendingSum {
 public:
  explicit QueuedSum(std::shared_ptr<CudaEvent> end) : end_(std::move(end)) {}

  bool test() override { return end_->is_reached(); }
  void wait() override { end_->hold(default_stream); }

 private:
  std::shared_ptr<CudaEvent> end_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, OwnedComm comm, NcclOptions options)
      : host_(std::move(host)),
        owned_(std::move(comm)),
        comm_(owned_.get()),
        options_(std::move(options)),
        follower_(std::in_place, comm_, options_.gpu, options_.watchdog) {}
  ~NcclCommunicator() override {
    follower_.reset();  // no other thread may be in NCCL from here on
    // Before buffers are freed, which waits for all that runs on the GPU: a collective that hangs there, too.
    if (std::uncaught_exceptions() > 0) {
      owned_.abort();
      return;
    }
    try {
      settle(ncclCommFinalize(comm_), comm_, "ncclCommFinalize");
      ncclCommDestroy(owned_.release());
    } catch (const CommError&) {
      owned_.abort();
    }
  }

  [[nodiscard]] int rank() const override { return host_->rank(); }
  [[nodiscard]] int size() const override { return host_->size(); }
  [[nodiscard]] std::string_view backend() const override { return "nccl"; }
  [[nodiscard]] bool takes_gpu_memory() const override { return true; }

  void all_reduce_sum(std::span<float> values) override { all_reduce(CollectiveCall::sum_float, values, ncclSum); }
  void all_reduce_sum(std::span<double> values) override { all_reduce(CollectiveCall::sum_double, values, ncclSum); }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    all_reduce(CollectiveCall::sum_int64, values, ncclSum);
  }
  void all_reduce_max(std::span<double> values) override { all_reduce(CollectiveCall::max_double, values, ncclMax); }
  void all_reduce_max(std::span<std::int64_t> values) override {
    all_reduce(CollectiveCall::max_int64, values, ncclMax);
  }

  [[nodiscard]] std::unique_ptr<PendingSum> start_sum(std::span<float> values) override {
    if (values.empty() || !is_gpu_memory(values.data())) {
      return host_->start_sum(values);
    }
    return std::make_unique<QueuedSum>(
        queue(CollectiveCall::sum_float, values.size(), reduction(values.data(), values.size(), ncclSum)));
  }

  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const auto ranks = static_cast<std::size_t>(size());
    SOUP_REQUIRE(all.size() == ranks * mine.size(),
                 fmt::format("all_gather of {} times {} bytes into {}", ranks, mine.size(), all.size()));
    const bool on_gpu = !mine.empty() && is_gpu_memory(mine.data());
    SOUP_REQUIRE(mine.empty() || on_gpu == is_gpu_memory(all.data()), "all_gather from one kind of memory to another");
    if (!on_gpu && all.size() < std::max<std::size_t>(options_.least_bytes, 1)) {
      host_->all_gather(mine, all);
      return;
    }
    meet(CollectiveCall::gather, mine.size());
    const auto gather = [this](const std::byte* from, std::byte* to, std::size_t bytes) {
      return ncclAllGather(from, to, bytes, ncclInt8, comm_, stream_.get());
    };
    if (on_gpu) {
      hold_default_stream(
          queue(CollectiveCall::gather, mine.size(), [&] { return gather(mine.data(), all.data(), mine.size()); }));
      return;
    }
    check_cuda(cudaSetDevice(options_.gpu), "cudaSetDevice");
    const std::size_t most = std::max<std::size_t>(options_.piece_bytes / (ranks + 1), 1);
    const GpuBuffer piece(std::min(most, mine.size()) * (ranks + 1));
    for (std::size_t done = 0; done < mine.size(); done += most) {
      const std::size_t bytes = std::min(most, mine.size() - done);
      std::byte* const gathered = piece.bytes().data() + bytes;
      check_cuda(
          cudaMemcpyAsync(piece.bytes().data(), mine.data() + done, bytes, cudaMemcpyHostToDevice, stream_.get()),
          "cudaMemcpyAsync");
      launch(CollectiveCall::gather, [&] { return gather(piece.bytes().data(), gathered, bytes); });
      // Each rank's piece lands in its own row of `all`.
      check_cuda(cudaMemcpy2DAsync(all.data() + done, mine.size(), gathered, bytes, bytes, ranks,
                                   cudaMemcpyDeviceToHost, stream_.get()),
                 "cudaMemcpy2DAsync");
      wait_for_stream(CollectiveCall::gather);
    }
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    SOUP_REQUIRE(root >= 0 && root < size(), fmt::format("broadcast from root {} of {} ranks", root, size()));
    const bool on_gpu = !bytes.empty() && is_gpu_memory(bytes.data());
    if (!on_gpu && bytes.size() < std::max<std::size_t>(options_.least_bytes, 1)) {
      host_->broadcast(bytes, root);
      return;
    }
    meet(CollectiveCall::broadcast, bytes.size(), root);
    const auto spread = [this, root](std::byte* data, std::size_t count) {
      return ncclBroadcast(data, data, count, ncclInt8, root, comm_, stream_.get());
    };
    if (on_gpu) {
      hold_default_stream(
          queue(CollectiveCall::broadcast, bytes.size(), [&] { return spread(bytes.data(), bytes.size()); }));
    } else {
      in_pieces(CollectiveCall::broadcast, bytes, 1, spread);
    }
  }

  void barrier() override { host_->barrier(); }

  [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) override {
    // Anew instead of by ncclCommSplit, which in its non-blocking form gives no communicator whose progress could be
    // asked for until it is through.
    return make_nccl_communicator(host_->split(colour, key), options_);
  }

 private:
  // One of two pieces of host memory on their way over the GPU.
  struct Piece {
    explicit Piece(std::size_t bytes) : locked(bytes), gpu(bytes) {}
    PageLockedBuffer locked;
    GpuBuffer gpu;
    CudaEvent end;
    std::span<std::byte> target;  // where the result goes; empty: nothing is on its way
  };

  void meet(CollectiveCall call, std::size_t count, int root = 0) {
    CallExtremes most = extremes_of(call, count, root);
    host_->all_reduce_max(std::span<std::int64_t>(most));
    require_same_call(call, count, rank(), most);
  }

  template <typename T>
  [[nodiscard]] std::function<ncclResult_t()> reduction(T* data, std::size_t count, ncclRedOp_t operation) {
    return [=, this] { return ncclAllReduce(data, data, count, type_of(T{}), operation, comm_, stream_.get()); };
  }

  template <typename T>
  void all_reduce(CollectiveCall call, std::span<T> values, ncclRedOp_t operation) {
    const bool on_gpu = !values.empty() && is_gpu_memory(values.data());
    if (!on_gpu && values.size_bytes() < std::max<std::size_t>(options_.least_bytes, 1)) {
      if (operation == ncclSum) {
        host_->all_reduce_sum(values);
      } else if constexpr (!std::is_same_v<T, float>) {
        host_->all_reduce_max(values);
      }
      return;
    }
    meet(call, values.size());
    if (on_gpu) {
      hold_default_stream(queue(call, values.size(), reduction(values.data(), values.size(), operation)));
    } else {
      in_pieces(call, std::as_writable_bytes(values), sizeof(T), [&](std::byte* data, std::size_t bytes) {
        return reduction(reinterpret_cast<T*>(data), bytes / sizeof(T), operation)();
      });
    }
  }

  // Puts a collective on the stream, and waits until NCCL has done so.
  template <typename Launch>
  void launch(CollectiveCall call, const Launch& start) {
    settle(start(), comm_, name_of(call));
  }

  // A collective on GPU memory, behind what the default stream has; returns its end.
  template <typename Launch>
  std::shared_ptr<CudaEvent> queue(CollectiveCall call, std::size_t count, const Launch& start) {
    check_cuda(cudaSetDevice(options_.gpu), "cudaSetDevice");
    ready_.record(default_stream);
    ready_.hold(stream_.get());
    launch(call, start);
    auto end = std::make_shared<CudaEvent>();
    end->record(stream_.get());
    follower_->add(end, fmt::format("{} of {} over NCCL", name_of(call), count));
    return end;
  }

  static void hold_default_stream(const std::shared_ptr<CudaEvent>& end) { end->hold(default_stream); }

  // Waits for `end`, looking for errors, which a collective that fails does not always end with.
  void wait_for(const CudaEvent& end, CollectiveCall call) {
    for (int looks = 0; !end.is_reached(); ++looks) {
      ncclResult_t state = ncclSuccess;
      check_nccl(ncclCommGetAsyncError(comm_, &state), comm_, "ncclCommGetAsyncError");
      check_nccl(state, comm_, name_of(call));
      rest(looks);
    }
  }
  void wait_for_stream(CollectiveCall call) {
    CudaEvent end;
    end.record(stream_.get());
    wait_for(end, call);
  }

  // A collective in place on host memory, of elements of so many bytes: while a piece is on its way, the one before is
  // fetched and the next one brought.
  template <typename Launch>
  void in_pieces(CollectiveCall call, std::span<std::byte> bytes, std::size_t element, const Launch& start) {
    check_cuda(cudaSetDevice(options_.gpu), "cudaSetDevice");
    const std::size_t most = std::max(options_.piece_bytes / element, std::size_t{1}) * element;
    for (std::unique_ptr<Piece>& piece : pieces_) {
      if (piece == nullptr) {
        piece = std::make_unique<Piece>(most);
      }
    }
    const auto fetch = [&](Piece& piece) {
      if (!piece.target.empty()) {
        wait_for(piece.end, call);
        std::memcpy(piece.target.data(), piece.locked.bytes().data(), piece.target.size());
        piece.target = {};
      }
    };
    std::size_t turn = 0;
    for (std::size_t done = 0; done < bytes.size(); done += most) {
      Piece& piece = *pieces_[turn++ % pieces_.size()];
      fetch(piece);
      const std::span<std::byte> part = bytes.subspan(done, std::min(most, bytes.size() - done));
      std::memcpy(piece.locked.bytes().data(), part.data(), part.size());
      std::byte* const gpu = piece.gpu.bytes().data();
      check_cuda(cudaMemcpyAsync(gpu, piece.locked.bytes().data(), part.size(), cudaMemcpyHostToDevice, stream_.get()),
                 "cudaMemcpyAsync");
      launch(call, [&] { return start(gpu, part.size()); });
      check_cuda(cudaMemcpyAsync(piece.locked.bytes().data(), gpu, part.size(), cudaMemcpyDeviceToHost, stream_.get()),
                 "cudaMemcpyAsync");
      piece.end.record(stream_.get());
      piece.target = part;
    }
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      fetch(*pieces_[turn++ % pieces_.size()]);
    }
  }

  std::unique_ptr<Communicator> host_;
  OwnedComm owned_;
  ncclComm_t comm_;
  NcclOptions options_;
  CudaStream stream_;
  CudaEvent ready_;
  std::array<std::unique_ptr<Piece>, 2> pieces_;
  std::optional<Follower> follower_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, const NcclOptions& options) {
  ncclUniqueId id{};
  agreed(*host, [&] {
    check_cuda(cudaSetDevice(options.gpu), "cudaSetDevice");
    if (host->rank() == 0) {
      check_nccl(ncclGetUniqueId(&id), nullptr, "ncclGetUniqueId");
    }
  });
  host->broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
  OwnedComm comm;
  agreed(*host, [&] {
    std::optional<Watchdog::Guard> guard;
    if (options.watchdog != nullptr) {
      guard.emplace(*options.watchdog, "making an NCCL communicator");
    }
    ncclConfig_t config = non_blocking();
    const ncclResult_t code = ncclCommInitRankConfig(comm.place(), host->size(), id, host->rank(), &config);
    settle(code, comm.get(), "ncclCommInitRankConfig");
  });
  return std::make_unique<NcclCommunicator>(std::move(host), std::move(comm), options);
}

void make_nccl_repeatable() {
  constexpr int keep = 0;
  setenv("NCCL_ALGO", "Ring", keep);
  setenv("NCCL_PROTO", "Simple", keep);
  setenv("NCCL_NVLS_ENABLE", "0", keep);
}

}  // namespace soup
