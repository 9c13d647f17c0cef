// The communicator of one process, and what is built on the few collective calls: texts and agreement on failure.
#include "launch/communicator.hpp"

#include <algorithm>
#include <limits>

#include "core/error.hpp"

namespace soup {

namespace {

class NothingPending final : public PendingSum {
 public:
  bool test() override { return true; }
  void wait() override {}
};

class SelfCommunicator final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] std::string_view backend() const override { return "self"; }

  void all_reduce_sum(std::span<float>) override {}
  void all_reduce_sum(std::span<double>) override {}
  void all_reduce_sum(std::span<std::int64_t>) override {}
  [[nodiscard]] std::unique_ptr<PendingSum> start_sum(std::span<float>) override {
    return std::make_unique<NothingPending>();
  }
  void all_reduce_max(std::span<double>) override {}
  void all_reduce_max(std::span<std::int64_t>) override {}
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    SOUP_REQUIRE(all.size() == mine.size(),
                 "all_gather of " + std::to_string(mine.size()) + " bytes into " + std::to_string(all.size()));
    std::copy(mine.begin(), mine.end(), all.begin());
  }
  void broadcast(std::span<std::byte>, int root) override {
    SOUP_REQUIRE(root == 0, "broadcast from root " + std::to_string(root) + " of 1 rank");
  }
  void barrier() override {}
  [[nodiscard]] std::unique_ptr<Communicator> split(int, int) override { return make_self_communicator(); }
};

// What one rank reports of its failure. The class of an Error follows from its exit code.
struct Failure {
  ExitCode code = ExitCode::invariant;
  std::string message;
  std::string hint;
};

Failure failure_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return {error.exit_code(), error.message(), error.hint()};
  } catch (const std::exception& error) {
    return {ExitCode::invariant, error.what(), {}};
  } catch (...) {
    return {ExitCode::invariant, "an exception of unknown type", {}};
  }
}

// "code\nlength of message\nmessage hint"
std::string encode(const Failure& failure) {
  return std::to_string(static_cast<int>(failure.code)) + "\n" + std::to_string(failure.message.size()) + "\n" +
         failure.message + failure.hint;
}

Failure decode(const std::string& text) {
  const std::size_t first = text.find('\n');
  const std::size_t second = text.find('\n', first + 1);
  SOUP_REQUIRE(first != std::string::npos && second != std::string::npos, "a failure report without its two lines");
  const std::size_t length = std::stoul(text.substr(first + 1, second - first - 1));
  return {static_cast<ExitCode>(std::stoi(text.substr(0, first))), text.substr(second + 1, length),
          text.substr(second + 1 + length)};
}

[[noreturn]] void throw_failure_of(int rank, const Failure& failure) {
  // DataError and CommError put their first argument, a colon and a space before the message: here "rank 3".
  const std::string where = "rank " + std::to_string(rank);
  switch (failure.code) {
    case ExitCode::usage:
      throw ConfigError(where + ": " + failure.message, failure.hint);
    case ExitCode::data:
      throw DataError(where, failure.message, failure.hint);
    case ExitCode::communication:
      throw CommError(where, failure.message, failure.hint);
    case ExitCode::interrupted:
      throw Interrupted(where + ": " + failure.message);
    case ExitCode::success:
    case ExitCode::invariant:
      break;
  }
  // InvariantError opens its text itself.
  constexpr std::string_view opening = "a bug in soup: ";
  const bool opened = failure.message.starts_with(opening);
  throw InvariantError(where + ": " + (opened ? failure.message.substr(opening.size()) : failure.message));
}

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

std::string broadcast_text(Communicator& comm, std::string text, int root) {
  if (comm.size() == 1) {
    return text;
  }
  std::uint64_t length = text.size();
  comm.broadcast(std::as_writable_bytes(std::span(&length, 1)), root);
  text.resize(length);
  if (length > 0) {
    comm.broadcast(std::as_writable_bytes(std::span(text)), root);
  }
  return text;
}

std::vector<std::string> all_gather_text(Communicator& comm, std::string_view text) {
  const auto ranks = static_cast<std::size_t>(comm.size());
  std::vector<std::uint64_t> lengths(ranks);
  const std::uint64_t length = text.size();
  comm.all_gather(std::as_bytes(std::span(&length, 1)), std::as_writable_bytes(std::span(lengths)));
  const std::uint64_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<std::string> texts(ranks);
  if (longest == 0) {
    return texts;
  }
  std::string mine(text);
  mine.resize(longest);
  std::string all(longest * ranks, '\0');
  comm.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    texts[rank] = all.substr(rank * longest, lengths[rank]);
  }
  return texts;
}

void agree(Communicator& comm, const std::exception_ptr& mine) {
  if (comm.size() == 1) {
    if (mine) {
      std::rethrow_exception(mine);
    }
    return;
  }
  // The largest of -rank over the ranks that failed is the lowest of them.
  std::int64_t lowest = mine ? -comm.rank() : std::numeric_limits<std::int64_t>::min();
  comm.all_reduce_max(std::span(&lowest, 1));
  if (lowest == std::numeric_limits<std::int64_t>::min()) {
    return;
  }
  const int root = static_cast<int>(-lowest);
  const bool own = comm.rank() == root;
  const std::string report = broadcast_text(comm, own ? encode(failure_of(mine)) : std::string(), root);
  if (own) {
    std::rethrow_exception(mine);
  }
  throw_failure_of(root, decode(report));
}

}  // namespace soup
