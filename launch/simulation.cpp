// What failures cost a run of many groups.
#include "launch/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <queue>

#include "core/error.hpp"
#include "core/random.hpp"

namespace soup {

namespace {

constexpr std::uint64_t most_failures = 1'000'000;
constexpr double never = std::numeric_limits<double>::infinity();

// One run's state; time goes from event to event.
class Simulation {
 public:
  Simulation(std::span<const int> group_sizes, std::span<const SimulatedWork> work, const Failures& failures,
             JobShape shape)
      : work_(work),
        failures_(failures),
        shape_(shape),
        stream_(failures.seed, 0),
        saved_(work.size(), 0.0),
        taken_(work.size(), false) {
    SOUP_REQUIRE(!group_sizes.empty(), "a simulation of no groups");
    std::vector<Work> plain;
    for (const SimulatedWork& item : work) {
      plain.push_back(item.work);
    }
    for (const int size : group_sizes) {
      groups_.push_back({.size = size, .first_rank = ranks_, .order = order_for_group(plain, size)});
      ranks_ += size;
    }
    std::ranges::sort(failures_.planned, {}, &Failures::Event::seconds);
    unfinished_ = work.size();
    next_random_ = draw_interval();
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      wakes_.push({0.0, group, 0});
    }
  }

  SimulatedRun run() {
    while (unfinished_ > 0) {
      const double next_failure = std::min(next_random_, next_planned());
      if (!wakes_.empty() && wakes_.top().time <= next_failure) {
        const Wake wake = wakes_.top();
        wakes_.pop();
        if (wake.epoch == groups_[wake.group].epoch) {
          now_ = wake.time;
          wake_up(wake.group);
        }
      } else {
        now_ = next_failure;
        fail();
      }
    }
    double useful = 0.0;
    for (const SimulatedWork& item : work_) {
      useful += item.work.rank_seconds;
    }
    const double all = now_ * ranks_;
    return {.makespan = now_,
            .lost_rank_seconds = lost_,
            .idle_share = all > 0.0 ? std::max(0.0, 1.0 - (useful + lost_) / all) : 0.0,
            .failures = failure_count_};
  }

 private:
  struct Group {
    int size = 1;
    int first_rank = 0;
    std::vector<std::size_t> order;
    std::optional<std::size_t> at = {};  // what it trains, or will when it has started again
    double began = 0.0;
    bool training = false;
    std::uint64_t epoch = 0;  // of its next wake; others are of a past that did not happen
  };
  struct Wake {
    double time;
    std::size_t group;
    std::uint64_t epoch;
    // The earliest is on top; of equals the first group's.
    bool operator<(const Wake& other) const { return time != other.time ? time > other.time : group > other.group; }
  };

  double draw_interval() {
    return failures_.per_hour > 0.0 ? now_ - std::log1p(-stream_.uniform()) * 3600.0 / failures_.per_hour : never;
  }
  [[nodiscard]] double next_planned() const {
    return planned_done_ < failures_.planned.size() ? failures_.planned[planned_done_].seconds : never;
  }
  [[nodiscard]] double remaining(std::size_t item) const { return work_[item].work.rank_seconds - saved_[item]; }

  // A group is through with its work, or may start: it takes the next.
  void wake_up(std::size_t number) {
    Group& group = groups_[number];
    if (group.training) {
      group.training = false;
      saved_[*group.at] = work_[*group.at].work.rank_seconds;
      group.at.reset();
      --unfinished_;
    }
    if (!group.at) {
      const auto next = std::ranges::find_if(group.order, [this](std::size_t item) { return !taken_[item]; });
      if (next == group.order.end()) {
        return;
      }
      taken_[*next] = true;
      group.at = *next;
    }
    group.began = now_;
    group.training = true;
    wakes_.push({now_ + remaining(*group.at) / group.size, number, ++group.epoch});
  }

  // What the group did since its last checkpoint is lost; it starts again after a while.
  void end(std::size_t number) {
    Group& group = groups_[number];
    if (group.training) {
      const SimulatedWork& item = work_[*group.at];
      double& saved = saved_[*group.at];
      const double reached = saved + (now_ - group.began) * group.size;
      const double interval = item.checkpoint_rank_seconds;
      const double kept = interval > 0.0 ? std::max(saved, std::floor(reached / interval) * interval) : saved;
      lost_ += reached - kept;
      saved = kept;
      group.training = false;
    }
    if (shape_ == JobShape::world && group.at) {
      taken_[*group.at] = false;
      group.at.reset();
    }
    wakes_.push({now_ + failures_.restart_seconds, number, ++group.epoch});
  }

  void fail() {
    int rank = 0;
    if (next_planned() <= next_random_) {
      rank = failures_.planned[planned_done_++].rank;
    } else {
      rank = static_cast<int>(stream_.below(static_cast<std::uint64_t>(ranks_)));
      next_random_ = draw_interval();
    }
    // Where hardly any work is done between failures it would go on for ever.
    if (++failure_count_ > most_failures) {
      throw ConfigError(fmt::format("the simulated run is not through after {} failures, {:.0f} s and {} of {} shards",
                                    most_failures, now_, work_.size() - unfinished_, work_.size()),
                        "checkpoint more often, restart more quickly, or assume fewer failures");
    }
    if (shape_ == JobShape::world) {
      for (std::size_t group = 0; group < groups_.size(); ++group) {
        end(group);
      }
      return;
    }
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      const bool hit = rank >= groups_[group].first_rank && rank < groups_[group].first_rank + groups_[group].size;
      // Where no job runs none is ended.
      if (hit && groups_[group].at) {
        end(group);
      }
    }
  }

  std::span<const SimulatedWork> work_;
  Failures failures_;
  JobShape shape_;
  RandomStream stream_;
  std::vector<Group> groups_;
  int ranks_ = 0;
  std::vector<double> saved_;  // by work, in seconds of one rank
  std::vector<bool> taken_;
  std::size_t unfinished_ = 0;
  std::priority_queue<Wake> wakes_;
  double now_ = 0.0;
  double next_random_ = never;
  std::size_t planned_done_ = 0;
  double lost_ = 0.0;
  std::uint64_t failure_count_ = 0;
};

SimulatedMean mean_of(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0.0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return {mean, values.size() > 1 ? std::sqrt(squares / (count - 1.0) / count) : 0.0};
}

}  // namespace

SimulatedRun simulate(std::span<const int> group_sizes, std::span<const SimulatedWork> work, const Failures& failures,
                      JobShape shape) {
  return Simulation(group_sizes, work, failures, shape).run();
}

SimulatedRuns simulate_often(std::span<const int> group_sizes, std::span<const SimulatedWork> work, Failures failures,
                             JobShape shape, int repeats) {
  SOUP_REQUIRE(repeats > 0, "a simulation of no runs");
  std::vector<double> makespans;
  std::vector<double> lost;
  std::vector<double> idle;
  std::vector<double> counts;
  for (int repeat = 0; repeat < repeats; ++repeat, ++failures.seed) {
    const SimulatedRun run = simulate(group_sizes, work, failures, shape);
    makespans.push_back(run.makespan);
    lost.push_back(run.lost_rank_seconds);
    idle.push_back(run.idle_share);
    counts.push_back(static_cast<double>(run.failures));
  }
  return {mean_of(makespans), mean_of(lost), mean_of(idle), mean_of(counts)};
}

}  // namespace soup
