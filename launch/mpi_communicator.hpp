// Communicator over MPI for host memory: checked, chunked, and asleep while it waits for other ranks.
#pragma once

#include <mpi.h>

#include <memory>

#include "launch/collective_call.hpp"
#include "launch/communicator.hpp"

namespace soup {

// Throws CommError naming the call, MPI's text for `code` and this host when `code` is not MPI_SUCCESS.
void check_mpi(int code, std::string_view call);

class MpiCommunicator final : public Communicator {
 public:
  // Works on a duplicate of `comm` (collective), so that its messages meet no one else's. MPI calls take int counts and
  // need scratch memory of the message's size: longer spans are cut into pieces of `max_count` elements. Pieces that
  // fit a core's cache are also quicker than whole messages between ranks of one host.
  explicit MpiCommunicator(MPI_Comm comm, std::size_t max_count = default_max_count);
  ~MpiCommunicator() override;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string_view backend() const override { return "mpi"; }

  void all_reduce_sum(std::span<float> values) override;
  void all_reduce_sum(std::span<double> values) override;
  void all_reduce_sum(std::span<std::int64_t> values) override;
  [[nodiscard]] std::unique_ptr<PendingSum> start_sum(std::span<float> values) override;
  void all_reduce_max(std::span<double> values) override;
  void all_reduce_max(std::span<std::int64_t> values) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  void barrier() override;
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) override;

  static constexpr std::size_t default_max_count = std::size_t{1} << 19;

 private:
  struct Owned {};  // takes `comm` over instead of duplicating it
  MpiCommunicator(Owned, MPI_Comm comm, std::size_t max_count);

  // Waits, asleep, until every rank has come to this collective; throws CommError on all of them when they have not
  // come to the same one with the same element count and root.
  void meet(CollectiveCall call, std::size_t count, int root = 0);
  // Completes `request`; `asleep` while others may be at work for long, else only yielding the core.
  static void complete(MPI_Request& request, std::string_view call, bool asleep);
  template <typename T>
  void all_reduce(CollectiveCall call, std::span<T> values, MPI_Datatype type, MPI_Op operation);

  MPI_Comm comm_ = MPI_COMM_NULL;
  std::size_t max_count_;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace soup
