// How ranks find out, before a collective, that they are not all at the same one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace soup {

enum class CollectiveCall : std::int64_t {
  sum_float,
  sum_double,
  sum_int64,
  max_double,
  max_int64,
  gather,
  broadcast,
  barrier,
  split
};

// "all_reduce_sum(float)"
std::string_view name_of(CollectiveCall call);

// What a rank is about to call, in a form whose maximum over the ranks shows whether all are about to call the same:
// the largest of x and of -x give the range of x.
using CallExtremes = std::array<std::int64_t, 6>;
CallExtremes extremes_of(CollectiveCall call, std::size_t count, int root);

// `most`: the maximum over all ranks. Throws CommError, on all ranks alike, where they differ.
void require_same_call(CollectiveCall call, std::size_t count, int rank, const CallExtremes& most);

}  // namespace soup
