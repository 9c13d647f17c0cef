// Which group trains which shard when.
#include "launch/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

std::vector<std::size_t> order_of_work(std::span<const Work> work) {
  std::vector<std::size_t> order(work.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [work](std::size_t a, std::size_t b) {
    return work[a].seconds_on(work[a].ranks) > work[b].seconds_on(work[b].ranks);
  });
  return order;
}

std::vector<std::size_t> order_for_group(std::span<const Work> work, int group_size) {
  std::vector<std::size_t> order = order_of_work(work);
  std::stable_partition(order.begin(), order.end(), [&](std::size_t i) { return work[i].ranks == group_size; });
  return order;
}

Schedule make_schedule(std::span<const int> group_sizes, std::span<const Work> work) {
  SOUP_REQUIRE(!group_sizes.empty(), "a schedule for no groups");
  Schedule schedule;
  std::vector<double> free_at(group_sizes.size(), 0.0);
  std::vector<std::vector<std::size_t>> orders;
  for (const int size : group_sizes) {
    orders.push_back(order_for_group(work, size));
  }
  std::vector<bool> taken(work.size(), false);
  for (std::size_t turn = 0; turn < work.size(); ++turn) {
    // Of groups that become free together the first asks first.
    const auto group = static_cast<std::size_t>(std::ranges::min_element(free_at) - free_at.begin());
    const auto next = std::ranges::find_if(orders[group], [&taken](std::size_t i) { return !taken[i]; });
    taken[*next] = true;
    const double start = free_at[group];
    free_at[group] += work[*next].seconds_on(group_sizes[group]);
    schedule.turns.push_back({*next, static_cast<int>(group), start, free_at[group]});
  }
  schedule.makespan = std::ranges::max(free_at);
  double busy = 0.0;
  double all = 0.0;
  for (std::size_t group = 0; group < group_sizes.size(); ++group) {
    busy += free_at[group] * group_sizes[group];
    all += schedule.makespan * group_sizes[group];
  }
  schedule.idle_share = all > 0.0 ? 1.0 - busy / all : 0.0;
  return schedule;
}

std::string describe(const Schedule& schedule, const Topology& topology, std::span<const Work> work) {
  std::size_t width = 5;
  for (const Work& item : work) {
    width = std::max(width, item.name.size());
  }
  std::string text = fmt::format("{:<{}}  {:<11}  {:>14}  {:>14}\n", "shard", width, "ranks", "from", "to");
  for (const Turn& turn : schedule.turns) {
    text += fmt::format("{:<{}}  {:<11}  {:>14}  {:>14}\n", work[turn.work].name, width,
                        ranks_text(topology, turn.group), human_seconds(turn.start), human_seconds(turn.end));
  }
  return text + fmt::format("{} together, ranks idle {:.1f} % of it\n", human_seconds(schedule.makespan),
                            100.0 * schedule.idle_share);
}

}  // namespace soup
