// `soup search`: the best soup by a command's held-out score.
#include "experiments/search.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "experiments/candidate_pool.hpp"
#include "experiments/merge_job.hpp"
#include "merge/method.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr const char* record_name = "search.json";
constexpr const char* recipe_name = "recipe.yaml";

std::string strategy_name(Strategy strategy) {
  return strategy == Strategy::greedy ? "greedy" : "cma-es";
}

// Also decides, from all inputs, which parts are averaged in every soup.
void make_searchable(SearchRequest& request) {
  Recipe& recipe = request.recipe;
  std::set<std::string> names;
  for (const RecipeInput& input : recipe.inputs) {
    if (!names.insert(input.name).second) {
      throw ConfigError(fmt::format("two inputs are named \"{}\"", input.name), "name them: NAME=PATH");
    }
    if (input.weight != 1.0) {
      throw ConfigError(
          fmt::format("input {} has the weight {}, but a search finds the weights", input.name, input.weight),
          "leave weights out");
    }
  }
  if (recipe.inputs.size() < 2) {
    throw ConfigError(fmt::format("{} inputs leave nothing to search", recipe.inputs.size()),
                      "name two models or more");
  }
  if (!recipe.rules.empty()) {
    throw ConfigError("the recipe has rules, but a search finds one weight for each input", "leave rules out");
  }
  const bool takes_one = recipe.method != "slerp";
  if (recipe.method == "model_stock" || (request.strategy == Strategy::greedy && !takes_one)) {
    throw ConfigError(fmt::format("method {} does not fit a {} search", recipe.method, strategy_name(request.strategy)),
                      recipe.method == "slerp" ? "it has no soups of one or three models; cma-es finds its weights"
                                               : "it computes its weights itself");
  }
  require_valid(request.command);
  if (!request.confirm_command.empty()) {
    ScoreCommand confirm = request.command;
    confirm.text = request.confirm_command;
    require_valid(confirm);
  }
  const MergeJob job = merge_job(recipe);
  require_free_output(job.inputs, request.output, request.work.overwrite);
  recipe.parts = check_merge(job.inputs, job.options).parts;
}

std::string with_error(double value, std::optional<double> standard_error) {
  return standard_error ? fmt::format("{:.6g} ± {:.2g}", value, *standard_error) : fmt::format("{:.6g}", value);
}

std::string with_sign(const Improvement& gain) {
  return gain.standard_error ? fmt::format("{:+.6g} ± {:.2g}", gain.value, *gain.standard_error)
                             : fmt::format("{:+.6g}", gain.value);
}

nlohmann::json score_json(const Score& score) {
  return {{"score", score.value},
          {"standard_error", score.standard_error ? nlohmann::json(*score.standard_error) : nlohmann::json()},
          {"items", score.items.size()}};
}

nlohmann::json gain_json(const Improvement& gain) {
  return {{"value", gain.value},
          {"standard_error", gain.standard_error ? nlohmann::json(*gain.standard_error) : nlohmann::json()}};
}

// Rank 0's part: asks the pool, decides, tells, and records.
class Search {
 public:
  Search(const SearchRequest& request, CandidatePool& pool, std::size_t ahead, Log& log)
      : request_(request), pool_(pool), ahead_(ahead), log_(log) {}

  // Weights of the best soup.
  InputWeights run() {
    const std::size_t inputs = request_.recipe.inputs.size();
    const InputWeights equal(inputs, 1.0);
    equal_ = score_of(request_.command.text, equal);
    log_.info("all inputs equally: " + text_of(equal_));
    InputWeights found = request_.strategy == Strategy::greedy ? run_greedy(inputs) : run_learned(inputs);
    Improvement gain = improvement(found_, equal_, request_.judgement.higher_is_better);
    record_["result"] = {{"weights", weights_json(found)}, {"score", score_json(found_)}, {"gain", gain_json(gain)}};
    log_.info(fmt::format("{}: {}, {} over equal weights", describe(found), text_of(found_), with_sign(gain)));
    if (!request_.confirm_command.empty()) {
      gain = confirm(equal, found);
    }
    // Learned weights are real numbers fitted to scores: without a gain the plain mean is the better founded soup. A
    // greedy soup stands for itself: it holds fewer inputs.
    if (request_.strategy == Strategy::cma_es && !request_.judgement.is_better(gain)) {
      log_.info(fmt::format("no improvement beyond {:.3g} standard errors: the soup has equal weights",
                            request_.judgement.margin));
      found = equal;
    }
    record_["chosen"] = weights_json(found);
    return found;
  }

  // search.json.
  [[nodiscard]] nlohmann::json record() const {
    nlohmann::json value = record_;
    value["schema"] = 1;
    value["program"] = program_version();
    value["strategy"] = strategy_name(request_.strategy);
    value["command"] = request_.command.text;
    value["higher_is_better"] = request_.judgement.higher_is_better;
    value["margin"] = request_.judgement.margin;
    value["method"] = request_.recipe.method;
    value["inputs"] = nlohmann::json::array();
    for (std::size_t i = 0; i < pool_.inputs().size(); ++i) {
      const bool is_base = i == request_.recipe.inputs.size();
      const RecipeInput& input = is_base ? *request_.recipe.base : request_.recipe.inputs[i];
      value["inputs"].push_back({{"name", input.name}, {"digest", pool_.inputs()[i].hex()}, {"is_base", is_base}});
    }
    value["equal_weights"] = score_json(equal_);
    return value;
  }

 private:
  Score score_of(const std::string& command, const InputWeights& weights) {
    return pool_.score(command, std::span(&weights, 1)).front();
  }

  [[nodiscard]] ScoreSoups scores() {
    return [this](std::span<const InputWeights> soups) { return pool_.score(request_.command.text, soups); };
  }

  [[nodiscard]] static std::string text_of(const Score& score) { return with_error(score.value, score.standard_error); }
  [[nodiscard]] const std::string& name_of(std::size_t input) const { return request_.recipe.inputs[input].name; }

  [[nodiscard]] std::string describe(const InputWeights& weights) const {
    std::string text;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] != 0.0) {
        text += (text.empty() ? "" : ", ") + name_of(i);
        text += request_.strategy == Strategy::greedy ? "" : fmt::format(" {:.3g}", weights[i]);
      }
    }
    return text;
  }

  [[nodiscard]] nlohmann::json weights_json(const InputWeights& weights) const {
    nlohmann::json value = nlohmann::json::object();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] != 0.0) {
        value[name_of(i)] = weights[i];
      }
    }
    return value;
  }

  InputWeights run_greedy(std::size_t inputs) {
    GreedyResult result = greedy_search(inputs, scores(), request_.judgement, ahead_, [&](const GreedyStep& step) {
      log_.info(fmt::format("with {}: {}, {}: {}", name_of(step.input), text_of(step.score),
                            with_sign(step.improvement), step.kept ? "kept" : "left out"));
    });
    nlohmann::json order = nlohmann::json::array();
    for (const std::size_t input : result.order) {
      order.push_back({{"input", name_of(input)}, {"alone", score_json(result.alone[input])}});
    }
    nlohmann::json steps = nlohmann::json::array();
    for (const GreedyStep& step : result.steps) {
      steps.push_back({{"input", name_of(step.input)},
                       {"score", score_json(step.score)},
                       {"gain", gain_json(step.improvement)},
                       {"kept", step.kept}});
    }
    record_["greedy"] = {{"order", order}, {"steps", steps}};
    found_ = result.score;
    return result.weights;
  }

  InputWeights run_learned(std::size_t inputs) {
    int number = 0;
    nlohmann::json generations = nlohmann::json::array();
    LearnedResult result = learned_search(
        inputs, scores(), request_.judgement.higher_is_better, request_.learned,
        [&](const LearnedGeneration& generation) {
          const auto [least, most] = std::ranges::minmax(generation.scores, {}, &Score::value);
          log_.info(fmt::format("generation {}: scores {:.6g} to {:.6g}, weights drawn with spread {:.3g}", ++number,
                                least.value, most.value, generation.spread));
          nlohmann::json soups = nlohmann::json::array();
          for (std::size_t i = 0; i < generation.weights.size(); ++i) {
            soups.push_back(
                {{"weights", weights_json(generation.weights[i])}, {"score", score_json(generation.scores[i])}});
          }
          generations.push_back({{"spread", generation.spread}, {"soups", std::move(soups)}});
        });
    record_["learned"] = {{"seed", std::to_string(request_.learned.seed)},
                          {"sigma", request_.learned.sigma},
                          {"budget", request_.learned.budget},
                          {"generations", std::move(generations)}};
    found_ = result.score;
    return result.weights;
  }

  // The gain by scores that the search did not see.
  Improvement confirm(const InputWeights& equal, const InputWeights& found) {
    const std::vector<InputWeights> soups{equal, found};
    const std::vector<Score> scores = pool_.score(request_.confirm_command, soups);
    const Improvement gain = improvement(scores[1], scores[0], request_.judgement.higher_is_better);
    record_["confirmed"] = {{"command", request_.confirm_command},
                            {"equal_weights", score_json(scores[0])},
                            {"result", score_json(scores[1])},
                            {"gain", gain_json(gain)}};
    log_.info(fmt::format("confirmed: {} against {} with equal weights, {}", text_of(scores[1]), text_of(scores[0]),
                          with_sign(gain)));
    return gain;
  }

  const SearchRequest& request_;
  CandidatePool& pool_;
  std::size_t ahead_;
  Log& log_;
  nlohmann::json record_ = nlohmann::json::object();
  Score equal_;
  Score found_;  // of what the strategy found
};

void write_result(const SearchRequest& request, const Recipe& recipe, const nlohmann::json& record, Log& log) {
  const fs::path folder = search_folder(request.output);
  write_json(folder / record_name, record);
  write_recipe(folder / recipe_name, recipe);
  MergeJob job = merge_job(recipe);
  job.options.work = request.work;
  job.options.finish_folder = [&](Ledger&, const fs::path& partial) { write_json(partial / record_name, record); };
  const Ledger ledger = merge(job.inputs, request.output, job.options);
  log.info(fmt::format("{}: soup {} of {} ingredients; {} says how it was found, soup merge --recipe {} makes it again",
                       request.output.string(), ledger.soup_digest().brief(), ledger.ingredients.size(),
                       (folder / record_name).string(), (folder / recipe_name).string()));
}

}  // namespace

fs::path search_folder(const fs::path& output) {
  fs::path folder = output.has_filename() ? output : output.parent_path();
  return folder.extension() == ".safetensors" ? folder.replace_extension(".search") : fs::path(folder += ".search");
}

void run_search(Communicator& comm, const SearchRequest& asked, Log& log) {
  SearchRequest request = asked;
  agreed(comm, [&] { make_searchable(request); });
  const fs::path folder = search_folder(request.output);
  CandidatePool pool(comm, {request.recipe, folder, request.scratch.empty() ? folder : request.scratch,
                            request.output.extension() == ".safetensors", request.work.threads, request.command});
  if (comm.rank() != 0) {
    pool.serve();
    return;
  }
  try {
    Search search(request, pool, static_cast<std::size_t>(comm.size()), log);
    const InputWeights weights = search.run();
    log.info(fmt::format("{} soups scored, {} scores taken from {}", pool.scored(), pool.reused(), folder.string()));
    write_result(request, with_weights(request.recipe, weights), search.record(), log);
    pool.finish();
  } catch (...) {
    pool.finish();
    throw;
  }
}

}  // namespace soup
