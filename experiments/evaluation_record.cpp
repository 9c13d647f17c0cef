#include "experiments/evaluation_record.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

constexpr std::array<ScoreKind, 11> kinds = {{
    {"alignment", "Alignment", "alignment", "cosine between the scorer's embeddings of image and prompt", true, 3},
    {"alignment_styled", "with style", "alignment with style words", "alignment of the prompts that name a style", true,
     3},
    {"alignment_plain", "no style", "alignment without style words", "alignment of the prompts that name no style",
     true, 3},
    {"retrieval_top1", "Retrieval", "retrieval", "share of images whose own prompt is the nearest of all prompts", true,
     2},
    {"retrieval_rank", "Rank", "mean rank", "mean rank of the image's own prompt among all prompts; 1 is best", false,
     1},
    {"context_accuracy", "Context", "context accuracy",
     "share of images that the scorer puts into the prompt's context", true, 2},
    {"style_accuracy", "Style", "style accuracy", "share of images that the scorer gives the style the prompt names",
     true, 2},
    {"style_probability", "p(style)", "style probability", "mean probability the scorer gives to the style named", true,
     2},
    {"kernel_distance", "KID", "kernel distance",
     "unbiased kernel distance to real held-out icons, in the scorer's features", false, 3},
    {"frechet_distance", "Fréchet", "Fréchet distance",
     "Fréchet distance to real held-out icons, in the scorer's features; biased upwards by small samples, so compare "
     "it "
     "only within a table",
     false, 1},
    {"denoising_loss", "Held-out loss", "held-out loss", "denoising loss on real held-out icons with their captions",
     false, 4},
}};

// Kinds that are means over generated images.
bool is_image_mean(std::string_view name) {
  return name != "kernel_distance" && name != "frechet_distance" && name != "denoising_loss";
}

std::map<std::string, Estimate> estimates(const nlohmann::json& json) {
  std::map<std::string, Estimate> result;
  for (const auto& [name, value] : json.items()) {
    result.emplace(name, estimate_from_json(value));
  }
  return result;
}

nlohmann::json to_json(const std::map<std::string, Estimate>& scores) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, estimate] : scores) {
    json[name] = soup::to_json(estimate);
  }
  return json;
}

// Mean over the values that apply; the bootstrap draws among these.
Estimate mean_of_applicable(std::vector<double> values, std::int64_t resamples, RandomStream stream) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  return bootstrap_mean(values, resamples, stream);
}

void read_line(const nlohmann::json& line, ModelRecord& record, bool& complete) {
  const auto type = line.at("type").get<std::string>();
  if (type == "image") {
    ImageRecord image{.index = line.at("index").get<std::uint64_t>(),
                      .prompt = line.at("prompt").get<std::string>(),
                      .caption = line.at("caption").get<std::string>(),
                      .style = line.at("style").get<std::string>(),
                      .context = line.at("context").get<std::string>(),
                      .with_style = line.at("with_style").get<bool>(),
                      .predicted_context = line.at("predicted_context").get<std::string>(),
                      .predicted_style = line.at("predicted_style").get<std::string>(),
                      .scores = {}};
    for (const auto& [name, value] : line.at("scores").items()) {
      image.scores.emplace(name, number_or_nan(value));
    }
    record.images.push_back(std::move(image));
  } else if (type == "denoising") {
    record.denoising.push_back(
        {line.at("shard").get<std::string>(), line.at("image").get<std::uint64_t>(), number_or_nan(line.at("loss"))});
  } else if (type == "summary") {
    record.model = line.at("model").get<std::string>();
    record.weights = line.at("weights").get<std::string>();
    record.key = line.at("key").get<std::string>();
    record.scores = estimates(line.at("scores"));
    record.denoising_by_shard = estimates(line.at("denoising_by_shard"));
    record.seconds = line.at("seconds").get<double>();
    complete = true;
  }
}

}  // namespace

std::span<const ScoreKind> score_kinds() {
  return kinds;
}

const ScoreKind* find_score_kind(std::string_view name) {
  const auto* found = std::ranges::find(kinds, name, &ScoreKind::name);
  return found == kinds.end() ? nullptr : found;
}

std::string record_stem(std::string_view model, std::string_view weights) {
  std::string stem(model);
  std::ranges::replace(stem, '/', '-');
  return weights.empty() ? stem : stem + "." + std::string(weights);
}

std::vector<double> sample_values(const ModelRecord& record, std::string_view score) {
  std::vector<double> values;
  if (score == "denoising_loss") {
    for (const DenoisingRecord& sample : record.denoising) {
      values.push_back(sample.loss);
    }
  } else if (is_image_mean(score)) {
    for (const ImageRecord& image : record.images) {
      const auto found = image.scores.find(std::string(score));
      values.push_back(found == image.scores.end() ? nan : found->second);
    }
  }
  return values;
}

void summarise(ModelRecord& record, std::int64_t resamples, RandomStream stream) {
  for (const ScoreKind& kind : kinds) {
    Estimate estimate = mean_of_applicable(sample_values(record, kind.name), resamples, stream);
    if (estimate.count > 0) {
      record.scores.insert_or_assign(std::string(kind.name), estimate);
    }
  }
  std::map<std::string, std::vector<double>> by_shard;
  for (const DenoisingRecord& sample : record.denoising) {
    by_shard[sample.shard].push_back(sample.loss);
  }
  for (const auto& [shard, losses] : by_shard) {
    record.denoising_by_shard.insert_or_assign(shard, mean_of_applicable(losses, resamples, stream));
  }
}

void write_record(const std::filesystem::path& folder, const ModelRecord& record) {
  std::string text;
  for (const ImageRecord& image : record.images) {
    text += nlohmann::json{{"type", "image"},
                           {"index", image.index},
                           {"prompt", image.prompt},
                           {"caption", image.caption},
                           {"style", image.style},
                           {"context", image.context},
                           {"with_style", image.with_style},
                           {"predicted_context", image.predicted_context},
                           {"predicted_style", image.predicted_style},
                           {"scores", image.scores}}
                .dump() +
            "\n";
  }
  for (const DenoisingRecord& sample : record.denoising) {
    text +=
        nlohmann::json{{"type", "denoising"}, {"shard", sample.shard}, {"image", sample.image}, {"loss", sample.loss}}
            .dump() +
        "\n";
  }
  text += nlohmann::json{{"type", "summary"},
                         {"model", record.model},
                         {"weights", record.weights},
                         {"key", record.key},
                         {"scores", to_json(record.scores)},
                         {"denoising_by_shard", to_json(record.denoising_by_shard)},
                         {"seconds", record.seconds}}
              .dump() +
          "\n";
  write_file_atomically(folder / (record_stem(record.model, record.weights) + ".jsonl"), text);
}

ModelRecord read_record(const std::filesystem::path& path) {
  ModelRecord record;
  bool complete = false;
  std::uint64_t number = 0;
  for (const std::string& line : split(read_file(path), '\n')) {
    ++number;
    if (line.empty()) {
      continue;
    }
    try {
      read_line(nlohmann::json::parse(line), record, complete);
    } catch (const nlohmann::json::exception& error) {
      throw DataError(path, "line " + std::to_string(number) + " is not a line of an evaluation: " + error.what());
    }
  }
  if (!complete) {
    throw DataError(path, "has no summary line: it is incomplete", "remove it and evaluate again");
  }
  return record;
}

void write_comparisons(const std::filesystem::path& folder, const std::vector<Comparison>& comparisons) {
  nlohmann::json list = nlohmann::json::array();
  for (const Comparison& comparison : comparisons) {
    list.push_back({{"first", comparison.first},
                    {"second", comparison.second},
                    {"weights", comparison.weights},
                    {"differences", to_json(comparison.differences)}});
  }
  write_file_atomically(folder / "comparison.json", nlohmann::json{{"comparisons", list}}.dump(1) + "\n");
}

std::vector<Comparison> read_comparisons(const std::filesystem::path& path) {
  std::vector<Comparison> comparisons;
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(path));
    for (const auto& entry : json.at("comparisons")) {
      comparisons.push_back({entry.at("first").get<std::string>(), entry.at("second").get<std::string>(),
                             entry.at("weights").get<std::string>(), estimates(entry.at("differences"))});
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path, std::string("is not a list of comparisons: ") + error.what(), "evaluate again");
  }
  return comparisons;
}

}  // namespace soup
