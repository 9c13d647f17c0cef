// How ranks find out, before a collective, that they are not all at the same one.
#include "launch/collective_call.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace soup {

std::string_view name_of(CollectiveCall call) {
  switch (call) {
    case CollectiveCall::sum_float:
      return "all_reduce_sum(float)";
    case CollectiveCall::sum_double:
      return "all_reduce_sum(double)";
    case CollectiveCall::sum_int64:
      return "all_reduce_sum(int64)";
    case CollectiveCall::max_double:
      return "all_reduce_max(double)";
    case CollectiveCall::max_int64:
      return "all_reduce_max(int64)";
    case CollectiveCall::gather:
      return "all_gather";
    case CollectiveCall::broadcast:
      return "broadcast";
    case CollectiveCall::barrier:
      return "barrier";
    case CollectiveCall::split:
      return "split";
  }
  return "unknown collective";
}

CallExtremes extremes_of(CollectiveCall call, std::size_t count, int root) {
  const auto what = static_cast<std::int64_t>(call);
  const auto elements = static_cast<std::int64_t>(count);
  return {what, -what, elements, -elements, root, -root};
}

void require_same_call(CollectiveCall call, std::size_t count, int rank, const CallExtremes& most) {
  if (most[0] != -most[1]) {
    throw CommError(name_of(call), fmt::format("ranks called different collectives: {} and {}",
                                               name_of(static_cast<CollectiveCall>(-most[1])),
                                               name_of(static_cast<CollectiveCall>(most[0]))));
  }
  if (most[2] != -most[3]) {
    throw CommError(name_of(call), fmt::format("ranks called with different element counts: {} to {}, rank {} with {}",
                                               -most[3], most[2], rank, count));
  }
  if (most[4] != -most[5]) {
    throw CommError(name_of(call), fmt::format("ranks called with different roots: {} to {}", -most[5], most[4]));
  }
}

}  // namespace soup
