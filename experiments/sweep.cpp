// `soup merge --sweep`: one soup for every point of a grid of weights, in a folder that appears as a whole.
#include "experiments/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr const char* weights_hint = "a sweep gives all weights itself; leave them out";

void require_sweep(const Recipe& recipe, int steps, const fs::path& output, const MergeWork& work) {
  if (output.extension() == ".safetensors") {
    throw ConfigError(fmt::format("{} is one file, but a sweep is a folder of soups", output.string()),
                      "give --output a name that does not end in .safetensors");
  }
  if (!work.digests) {
    throw ConfigError("a sweep's soups have ledgers, which need digests, but --no-digests is given",
                      "--no-digests is for a soup in one .safetensors file");
  }
  if (recipe.method == "model_stock") {
    throw ConfigError("a sweep goes through weights, but method model_stock has none",
                      "sweep a mean, or another method");
  }
  for (const RecipeInput& input : recipe.inputs) {
    if (input.weight != 1.0) {
      throw ConfigError(fmt::format("input {} has weight {}, but a sweep is asked for", input.name, input.weight),
                        weights_hint);
    }
  }
  if (!recipe.rules.empty()) {
    throw ConfigError(fmt::format("there are rules for the weights of \"{}\", but a sweep is asked for",
                                  recipe.rules.front().pattern),
                      weights_hint);
  }
  if (recipe.method == "slerp" && recipe.inputs.size() != 2) {
    throw ConfigError(fmt::format("method slerp is for two models, but there are {}", recipe.inputs.size()),
                      "sweep a mean to mix more");
  }
  require_sweepable(recipe.inputs.size(), steps);
}

// The progress of one merge as that of the whole sweep, which goes on from `before` by `bytes`.
void report_part_of(const MergeWork& whole, std::uint64_t before, std::uint64_t bytes, std::uint64_t all,
                    MergeWork& point) {
  if (whole.progress) {
    point.progress = [&whole, before, bytes, all](std::uint64_t done, std::uint64_t total) {
      const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
      whole.progress(before + static_cast<std::uint64_t>(share * static_cast<double>(bytes)), all);
    };
  }
}

}  // namespace

MergeJob point_job(const Recipe& recipe, const GridWeights& weights) {
  const bool is_mean = recipe.method == mean_method;
  int divisor = 0;
  for (const int weight : weights) {
    divisor = std::gcd(divisor, weight);
  }
  const int total = std::accumulate(weights.begin(), weights.end(), 0);
  std::vector<double> shares;
  for (const int weight : weights) {
    shares.push_back(is_mean ? weight / divisor : static_cast<double>(weight) / total);
  }
  Recipe point = with_weights(recipe, shares);
  if (recipe.method == "slerp" && point.inputs.size() == 1) {
    point.method = mean_method;
  }
  return merge_job(point);
}

Sweep run_sweep(const Recipe& recipe, int steps, const fs::path& output, const MergeWork& work) {
  require_sweep(recipe, steps, output, work);
  const MergeJob all = merge_job(recipe);
  require_free_output(all.inputs, output, work.overwrite);
  const MergeExtent extent = check_merge(all.inputs, all.options);
  const std::vector<GridWeights> grid = simplex_grid(recipe.inputs.size(), steps);
  std::vector<MergeJob> jobs;
  std::uint64_t bytes = 0;
  for (const GridWeights& weights : grid) {
    jobs.push_back(point_job(recipe, weights));
    bytes += extent.bytes * jobs.back().inputs.size();
  }

  // Beside the final folder, so that paths relative to a soup in it stay right when it is renamed.
  AtomicFolder folder(output);
  Sweep sweep{program_version(), recipe.method, steps, {}, {}};
  for (const RecipeInput& input : recipe.inputs) {
    sweep.inputs.push_back(
        {input.name, fs::absolute(input.path).lexically_relative(fs::absolute(folder.partial())).string()});
  }
  std::uint64_t done = 0;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    MergeOptions& options = jobs[i].options;
    options.parts = extent.parts;
    options.work = work;
    options.work.sync = Sync::no;  // the whole folder is flushed at once
    const std::uint64_t point_bytes = extent.bytes * jobs[i].inputs.size();
    report_part_of(work, done, point_bytes, bytes, options.work);
    done += point_bytes;
    const std::string name = point_name(grid[i], steps);
    const Ledger ledger = merge(jobs[i].inputs, folder.partial() / name, options);
    sweep.points.push_back({grid[i], name, ledger.soup_digest()});
  }
  write_sweep(folder.partial(), sweep);
  folder.commit(work.sync);
  return sweep;
}

}  // namespace soup
