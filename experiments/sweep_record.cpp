// sweep.json: which soups a sweep's folder holds, read strictly.
#include "experiments/sweep_record.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.hpp"
#include "core/text.hpp"
#include "experiments/recipe.hpp"
#include "merge/ledger.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t sweep_schema = 1;

std::vector<SweepInput> inputs_from_json(StrictObject& object) {
  std::vector<SweepInput> inputs;
  std::set<std::string> names;
  for (StrictObject& entry : object.objects("inputs")) {
    inputs.push_back({entry.text("name"), entry.text("path")});
    if (!names.insert(inputs.back().name).second) {
      entry.refuse("name", fmt::format("is \"{}\", as that of another input", excerpt(inputs.back().name)));
    }
    entry.done();
  }
  return inputs;
}

// The point that must come next in the grid.
SweepPoint point_from_json(StrictObject& entry, const Sweep& sweep, const GridWeights& expected) {
  SweepPoint point;
  point.folder = entry.text("folder");
  StrictObject weights = entry.object("weights");
  for (const SweepInput& input : sweep.inputs) {
    point.weights.push_back(static_cast<int>(weights.integer(input.name, 0, sweep.steps)));
  }
  weights.done();
  if (const int sum = std::accumulate(point.weights.begin(), point.weights.end(), 0); sum != sweep.steps) {
    entry.refuse("weights", fmt::format("add up to {}, but the sweep has {} steps", sum, sweep.steps));
  }
  if (point.weights != expected) {
    entry.refuse("weights", fmt::format("are {}, but the grid's next point is {}",
                                        point_name(point.weights, sweep.steps), point_name(expected, sweep.steps)));
  }
  if (const std::string name = point_name(expected, sweep.steps); point.folder != name) {
    entry.refuse("folder",
                 fmt::format("is \"{}\", but the folder of these weights is {}", excerpt(point.folder), name));
  }
  point.soup_digest = entry.digest("soup_digest");
  entry.done();
  return point;
}

// Throws DataError about this key for what require_sweepable refuses.
void require_grid(const StrictObject& object, const Sweep& sweep) {
  try {
    require_sweepable(sweep.inputs.size(), sweep.steps);
  } catch (const ConfigError& error) {
    object.refuse("inputs", error.message());
  }
}

}  // namespace

std::string Sweep::title(std::size_t point) const {
  std::vector<std::string> shares;
  const GridWeights& weights = points[point].weights;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (weights[i] == steps) {
      return inputs[i].name;
    }
    if (weights[i] > 0) {
      shares.push_back(fmt::format("{} {}", weights[i], inputs[i].name));
    }
  }
  return fmt::format("{}", fmt::join(shares, ", "));
}

void require_sweepable(std::size_t inputs, int steps) {
  if (inputs < 2) {
    throw ConfigError(
        fmt::format("a sweep goes from model to model, but there {} {}", inputs == 1 ? "is" : "are", inputs),
        "name two models or more");
  }
  if (steps < 1 || steps > most_sweep_steps) {
    throw ConfigError(fmt::format("a sweep has 1 to {} steps, but {} are asked for", most_sweep_steps, steps));
  }
  if (const std::uint64_t points = simplex_points(inputs, steps); points > most_sweep_points) {
    throw ConfigError(fmt::format("a sweep of {} inputs in {} steps has {}{} soups, but at most {} are made", inputs,
                                  steps, points, points == most_counted_points ? " or more" : "", most_sweep_points),
                      "give fewer steps or fewer inputs");
  }
  // A file system's names have 255 bytes, and a soup being written has its process' id behind its name.
  constexpr std::size_t longest_name = 200;
  const std::size_t name_bytes = inputs * (std::to_string(steps).size() + 1) - 1;
  if (name_bytes > longest_name) {
    throw ConfigError(fmt::format("the soups of {} inputs would have names of {} bytes, but at most {} are possible",
                                  inputs, name_bytes, longest_name),
                      "give fewer inputs");
  }
}

void write_sweep(const fs::path& folder, const Sweep& sweep) {
  json inputs = json::array();
  for (const SweepInput& input : sweep.inputs) {
    inputs.push_back({{"name", input.name}, {"path", input.path}});
  }
  json points = json::array();
  for (const SweepPoint& point : sweep.points) {
    json weights = json::object();
    for (std::size_t i = 0; i < sweep.inputs.size(); ++i) {
      weights[sweep.inputs[i].name] = point.weights[i];
    }
    points.push_back({{"folder", point.folder}, {"weights", weights}, {"soup_digest", point.soup_digest.hex()}});
  }
  write_json(folder / sweep_name, {{"schema", sweep_schema},
                                   {"program", sweep.program},
                                   {"method", sweep.method},
                                   {"steps", sweep.steps},
                                   {"inputs", inputs},
                                   {"points", points}});
}

Sweep read_sweep(const fs::path& folder) {
  const fs::path path = folder / sweep_name;
  const json value = read_json(path);
  StrictObject object(value, path);
  static_cast<void>(object.integer("schema", sweep_schema, sweep_schema));
  Sweep sweep;
  sweep.program = object.text("program");
  sweep.method = object.text("method");
  std::vector<std::string> methods = method_names();
  methods.insert(methods.begin(), mean_method);
  if (std::ranges::find(methods, sweep.method) == methods.end()) {
    object.refuse("method",
                  fmt::format("is \"{}\", but must be one of {}", excerpt(sweep.method), fmt::join(methods, ", ")));
  }
  sweep.steps = static_cast<int>(object.integer("steps", 1, most_sweep_steps));
  sweep.inputs = inputs_from_json(object);
  require_grid(object, sweep);
  const std::vector<GridWeights> grid = simplex_grid(sweep.inputs.size(), sweep.steps);
  std::vector<StrictObject> points = object.objects("points");
  if (points.size() != grid.size()) {
    object.refuse("points", fmt::format("are {}, but {} inputs in {} steps have {}", points.size(), sweep.inputs.size(),
                                        sweep.steps, grid.size()));
  }
  for (std::size_t i = 0; i < grid.size(); ++i) {
    sweep.points.push_back(point_from_json(points[i], sweep, grid[i]));
    std::error_code error;
    if (!fs::is_directory(folder / sweep.points.back().folder, error)) {
      points[i].refuse("folder", fmt::format("is {}, but there is no such folder beside {}", sweep.points.back().folder,
                                             sweep_name));
    }
  }
  object.done();
  return sweep;
}

void require_unedited(const fs::path& folder, const Sweep& sweep) {
  for (const SweepPoint& point : sweep.points) {
    if (const Digest found = read_ledger(folder / point.folder).soup_digest(); found != point.soup_digest) {
      throw DataError(folder / point.folder,
                      fmt::format("its ledger names the soup {}, but {} says {}", found.brief(), sweep_name,
                                  point.soup_digest.brief()),
                      "a soup of a sweep that is to change goes elsewhere: soup add and remove have --output");
    }
  }
}

}  // namespace soup
