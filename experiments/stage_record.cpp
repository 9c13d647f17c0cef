// DONE files: what a finished stage left behind, and the keys that follow from them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/stage.hpp"

namespace soup {

namespace {

constexpr int done_version = 1;
// Raised when a stage makes something else of the same settings: older results are then made again.
constexpr std::uint64_t stage_format = 1;
constexpr std::uintmax_t max_done_bytes = 16U << 20;

std::filesystem::path done_file(const std::filesystem::path& stage_folder) {
  return stage_folder / "DONE";
}

// Keys and records of one list of stages, each worked out once.
class States {
 public:
  States(const std::vector<Stage>& stages, const std::filesystem::path& run_folder) : run_folder_(run_folder) {
    for (const Stage& stage : stages) {
      by_name_.emplace(stage.name, &stage);
    }
  }

  std::optional<Digest> key(const Stage& stage) {
    Sha256 hash;
    hash.update_u64(stage_format);
    hash.update_u64(static_cast<std::uint64_t>(stage.kind));
    hash.update_field(stage.name);
    hash.update_field(stage.settings);
    for (const std::string& input : stage.inputs) {
      const std::size_t mark = input.find('#');
      const auto found = by_name_.find(input.substr(0, mark));
      SOUP_REQUIRE(found != by_name_.end(), "stage " + stage.name + " has the unknown input " + input);
      const StageRecord* record = current(*found->second);
      if (record == nullptr) {
        return std::nullopt;
      }
      const Digest* result = &record->result;
      if (mark != std::string::npos) {
        const auto part = record->parts.find(input.substr(mark + 1));
        if (part == record->parts.end()) {
          return std::nullopt;
        }
        result = &part->second;
      }
      hash.update_field(input);
      hash.update_field(result->hex());
    }
    return hash.finish();
  }

  // The record of a stage that is done with the key it has now, or nullptr.
  const StageRecord* current(const Stage& stage) {
    const auto known = records_.find(stage.name);
    if (known != records_.end()) {
      return known->second ? &*known->second : nullptr;
    }
    std::optional<StageRecord> record = read_done(run_folder_ / stage.folder);
    if (record && record->key != key(stage)) {
      record.reset();
    }
    const auto& kept = records_.emplace(stage.name, std::move(record)).first->second;
    return kept ? &*kept : nullptr;
  }

 private:
  std::filesystem::path run_folder_;
  std::map<std::string, const Stage*> by_name_;
  std::map<std::string, std::optional<StageRecord>> records_;
};

}  // namespace

std::optional<StageRecord> read_done(const std::filesystem::path& stage_folder) {
  const std::filesystem::path file = done_file(stage_folder);
  std::error_code error;
  const bool exists = std::filesystem::exists(file, error);
  if (error && error != std::errc::not_a_directory) {
    throw DataError(file, "cannot be looked at: " + error.message());
  }
  if (!exists) {
    return std::nullopt;
  }
  const std::string text = read_file(file, max_done_bytes);
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (const int version = json.at("version").get<int>(); version != done_version) {
      throw DataError(file, fmt::format("version {}; this soup reads version {}", version, done_version),
                      "it was written by another version of soup; use that one, or remove the folder");
    }
    StageRecord record;
    record.key = Digest::from_hex(json.at("key").get<std::string>());
    record.result = Digest::from_hex(json.at("result").get<std::string>());
    record.seconds = json.at("seconds").get<double>();
    record.ranks = json.value("ranks", 1);  // not in records of soup 0.1 before groups differed in size
    record.images = json.at("images").get<std::uint64_t>();
    for (const auto& [part, digest] : json.at("parts").items()) {
      record.parts.emplace(part, Digest::from_hex(digest.get<std::string>()));
    }
    return record;
  } catch (const nlohmann::json::exception& failure) {
    throw DataError(file, fmt::format("not a stage record: {}", failure.what()),
                    "remove this file: the stage is then done again");
  } catch (const ConfigError& failure) {
    throw DataError(file, fmt::format("not a stage record: {}", failure.message()),
                    "remove this file: the stage is then done again");
  }
}

void write_done(const std::filesystem::path& stage_folder, const StageRecord& record) {
  nlohmann::json parts = nlohmann::json::object();
  for (const auto& [part, digest] : record.parts) {
    parts[part] = digest.hex();
  }
  const nlohmann::json json = {{"version", done_version},   {"key", record.key.hex()}, {"result", record.result.hex()},
                               {"seconds", record.seconds}, {"ranks", record.ranks},   {"images", record.images},
                               {"parts", std::move(parts)}};
  write_file_atomically(done_file(stage_folder), json.dump(2) + "\n");
}

void remove_done(const std::filesystem::path& stage_folder) {
  std::error_code error;
  std::filesystem::remove(done_file(stage_folder), error);
  if (error) {
    throw DataError(done_file(stage_folder), "cannot be removed: " + error.message(),
                    "is something else in the stage's place?");
  }
}

Digest digest_of_parts(const std::map<std::string, Digest>& parts) {
  Sha256 hash;
  for (const auto& [name, digest] : parts) {
    hash.update_field(name).update(std::as_bytes(std::span(digest.bytes)));
  }
  return hash.finish();
}

std::optional<Digest> stage_key(const Stage& stage, const std::vector<Stage>& stages,
                                const std::filesystem::path& run_folder) {
  return States(stages, run_folder).key(stage);
}

std::optional<Digest> trajectory_key(const Stage& stage, const std::vector<Stage>& stages,
                                     const std::filesystem::path& run_folder) {
  Stage on_the_way = stage;
  on_the_way.settings = stage.trajectory;
  return stage_key(on_the_way, stages, run_folder);
}

bool is_done(const Stage& stage, const std::vector<Stage>& stages, const std::filesystem::path& run_folder) {
  return States(stages, run_folder).current(stage) != nullptr;
}

}  // namespace soup
