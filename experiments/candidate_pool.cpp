// Soups made, scored by a command and thrown away, spread over the ranks of a job.
#include "experiments/candidate_pool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "experiments/merge_job.hpp"
#include "merge/canonical_json.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view scores_begin = "scores-";
constexpr std::string_view scores_end = ".jsonl";
constexpr std::string_view candidate_begin = "candidate";

Digest input_digest(const RecipeInput& input, const std::string& variant) {
  const ModelFolder model = open_model(input.path, variant);
  std::map<std::string, Digest> parts;
  for (const ModelPart& part : model.parts) {
    parts.emplace(part.name, part_digest(model, part));
  }
  return model_digest(parts);
}

// Rank 0 alone; what a killed search left is removed.
FileDescriptor lock_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path path = folder / "lock";
  FileDescriptor lock(path, O_RDWR | O_CREAT);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    throw DataError(folder, "another search works here: " + errno_text(errno),
                    "wait for it, or give this one another --output");
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(candidate_begin)) {
      fs::remove_all(entry.path());
    }
  }
  return lock;
}

void read_line(std::string_view line, const fs::path& file, std::map<Digest, Score>& scores) {
  const nlohmann::json value = parse_json(line, file);
  StrictObject object(value, file);
  const Digest key = object.digest("key");
  static_cast<void>(object.text("soup"));
  static_cast<void>(object.text("command"));
  const Score score = score_from_json(object.value("score"), file);
  object.done();
  scores.insert_or_assign(key, score);
}

// One write call for the whole line, so that a torn one is the last.
void append_line(const fs::path& file, const nlohmann::json& line) {
  const std::string text = line.dump() + "\n";
  const FileDescriptor descriptor(file, O_WRONLY | O_CREAT | O_APPEND);
  if (descriptor.write_once(std::as_bytes(std::span(text)), file) != text.size()) {
    throw DataError(file, "a score could not be written whole", "is the disk full?");
  }
}

// "oxygen 0.25, numix 0.75", for people.
std::string describe(const Recipe& recipe, std::span<const double> weights) {
  std::string text;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] != 0.0) {
      text += fmt::format("{}{} {:.4g}", text.empty() ? "" : ", ", recipe.inputs[i].name, weights[i]);
    }
  }
  return text;
}

}  // namespace

CandidatePool::CandidatePool(Communicator& comm, PoolSettings settings) : comm_(comm), settings_(std::move(settings)) {
  agreed(comm_, [&] {
    if (comm_.rank() == 0) {
      lock_ = lock_folder(settings_.folder);
      read_scores();
    }
  });
  agreed(comm_, [&] {
    std::error_code error;
    fs::create_directories(settings_.scratch, error);
    candidates_ = std::make_unique<ScratchFolder>(candidate_begin, settings_.scratch);
  });
  digest_inputs();
}

void CandidatePool::digest_inputs() {
  std::vector<RecipeInput> inputs = settings_.recipe.inputs;
  if (settings_.recipe.base) {
    inputs.push_back(*settings_.recipe.base);
  }
  const auto ranks = static_cast<std::size_t>(comm_.size());
  std::string mine;
  agreed(comm_, [&] {
    for (auto i = static_cast<std::size_t>(comm_.rank()); i < inputs.size(); i += ranks) {
      mine += input_digest(inputs[i], settings_.recipe.variant).hex() + " ";
    }
  });
  const std::vector<std::string> all = all_gather_text(comm_, mine);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs_.push_back(Digest::from_hex(split(all[i % ranks], ' ').at(i / ranks)));
  }
}

void CandidatePool::read_scores() {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(settings_.folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(scores_begin) && name.ends_with(scores_end)) {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    const std::string text = read_file(file);
    std::vector<std::string> lines = split(text, '\n');
    // What was torn when a process was killed is cut off, or the next line would be added to it.
    fs::resize_file(file, text.size() - lines.back().size());
    lines.pop_back();
    for (const std::string& line : lines) {
      read_line(line, file, known_);
    }
  }
}

Digest CandidatePool::key_of(const std::string& command, const InputWeights& weights) const {
  const Recipe recipe = with_weights(settings_.recipe, weights);
  const MergeJob job = merge_job(recipe);
  nlohmann::json inputs = nlohmann::json::array();
  for (const MergeInput& input : job.inputs) {
    const auto same_name = std::ranges::find(settings_.recipe.inputs, input.name, &RecipeInput::name);
    const auto number =
        input.is_base ? inputs_.size() - 1 : static_cast<std::size_t>(same_name - settings_.recipe.inputs.begin());
    nlohmann::json entry{{"name", input.name}, {"digest", inputs_.at(number).hex()}};
    if (job.options.method) {
      entry["weight"] = input.asked.value_or(1.0);
    } else {
      entry["weight"] = input.weight;
    }
    inputs.push_back(std::move(entry));
  }
  const nlohmann::json identity{{"command", command},
                                {"inputs", inputs},
                                {"method", recipe.method},
                                {"parameters", recipe.parameters},
                                {"seed", recipe.seed ? std::to_string(*recipe.seed) : ""},
                                {"parts", recipe.parts},
                                {"variant", recipe.variant},
                                {"dtype", recipe.dtype},
                                {"scale_bits", job.options.scale_bits},
                                {"program", program_version()}};
  return sha256(canonical_json(identity));
}

std::vector<Score> CandidatePool::score(const std::string& command, std::span<const InputWeights> soups) {
  SOUP_REQUIRE(comm_.rank() == 0 && others_serve_, "scores are asked for by rank 0");
  std::vector<Digest> keys;
  nlohmann::json tasks = nlohmann::json::array();
  std::vector<Digest> asked;
  for (const InputWeights& weights : soups) {
    keys.push_back(key_of(command, weights));
    if (known_.contains(keys.back())) {
      ++reused_;
    } else if (std::ranges::find(asked, keys.back()) == asked.end()) {
      asked.push_back(keys.back());
      tasks.push_back({{"key", keys.back().hex()}, {"weights", weights}});
    }
  }
  if (!tasks.empty()) {
    others_serve_ = false;  // until the round is over without an error
    const std::string task = nlohmann::json{{"command", command}, {"soups", tasks}}.dump();
    for (auto& [number, found] : work(broadcast_text(comm_, task, 0))) {
      known_.emplace(asked.at(number), std::move(found));
    }
    others_serve_ = true;
    scored_ += asked.size();
  }
  std::vector<Score> scores;
  for (const Digest& key : keys) {
    scores.push_back(known_.at(key));
  }
  return scores;
}

void CandidatePool::finish() {
  if (others_serve_) {
    broadcast_text(comm_, "", 0);
    others_serve_ = false;
  }
}

void CandidatePool::serve() {
  SOUP_REQUIRE(comm_.rank() != 0, "rank 0 asks, the others serve");
  for (;;) {
    const std::string task = broadcast_text(comm_, "", 0);
    if (task.empty()) {
      return;
    }
    static_cast<void>(work(task));
  }
}

std::map<std::size_t, Score> CandidatePool::work(const std::string& task) {
  const nlohmann::json value = nlohmann::json::parse(task);
  const auto command = value.at("command").get<std::string>();
  const nlohmann::json& soups = value.at("soups");
  nlohmann::json mine = nlohmann::json::array();
  agreed(comm_, [&] {
    for (auto i = static_cast<std::size_t>(comm_.rank()); i < soups.size();
         i += static_cast<std::size_t>(comm_.size())) {
      const auto weights = soups[i].at("weights").get<InputWeights>();
      const nlohmann::json score = to_json(make_and_score(command, weights));
      append_line(settings_.folder / fmt::format("{}{}{}", scores_begin, comm_.rank(), scores_end),
                  {{"key", soups[i].at("key")},
                   {"soup", describe(settings_.recipe, weights)},
                   {"command", command},
                   {"score", score}});
      mine.push_back({i, score});
    }
  });
  std::map<std::size_t, Score> scores;
  for (const std::string& text : all_gather_text(comm_, mine.dump())) {
    for (const nlohmann::json& entry : nlohmann::json::parse(text)) {
      scores.emplace(entry.at(0).get<std::size_t>(), score_from_json(entry.at(1), "a rank's score"));
    }
  }
  return scores;
}

Score CandidatePool::make_and_score(const std::string& command, const InputWeights& weights) const {
  const fs::path model = candidates_->path() / (settings_.in_files ? "soup.safetensors" : "soup");
  MergeJob job = merge_job(with_weights(settings_.recipe, weights));
  job.options.accumulator = AccumulatorKind::none;
  job.options.work.threads = settings_.threads;
  job.options.work.digests = !settings_.in_files;
  job.options.work.sync = Sync::no;
  job.options.work.overwrite = true;
  merge(job.inputs, model, job.options);
  ScoreCommand to_run = settings_.command;
  to_run.text = command;
  const Score score = run_score_command(to_run, model);
  fs::remove_all(model);
  return score;
}

}  // namespace soup
