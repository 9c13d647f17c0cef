// What a stage that failed leaves in its folder.
#include "experiments/stage_failure.hpp"

#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"

namespace soup {

namespace {

constexpr std::uintmax_t max_failure_bytes = 1U << 20;

std::filesystem::path failure_file(const std::filesystem::path& stage_folder) {
  return stage_folder / "FAILED";
}

}  // namespace

void write_failure(const std::filesystem::path& stage_folder, const StageFailure& failure) {
  std::error_code ignored;
  std::filesystem::create_directories(stage_folder, ignored);
  nlohmann::ordered_json json = {{"time", failure.time}};
  json.update(to_json(failure.process));
  json["exit_code"] = failure.exit_code;
  json["error"] = failure.error;
  write_file_atomically(failure_file(stage_folder),
                        json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::optional<StageFailure> read_failure(const std::filesystem::path& stage_folder) {
  const std::filesystem::path file = failure_file(stage_folder);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return std::nullopt;
  }
  const std::string text = read_file(file, max_failure_bytes);
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    return StageFailure{.time = json.at("time").get<std::string>(),
                        .process = {.host = json.at("host").get<std::string>(),
                                    .pid = json.at("pid").get<int>(),
                                    .job = json.value("job", "")},
                        .exit_code = json.at("exit_code").get<int>(),
                        .error = json.at("error").get<std::string>()};
  } catch (const nlohmann::json::exception& failure) {
    throw DataError(file, std::string("is no record of a failure: ") + failure.what(), "remove it");
  }
}

void remove_failure(const std::filesystem::path& stage_folder) {
  std::error_code error;
  std::filesystem::remove(failure_file(stage_folder), error);
  if (error) {
    throw DataError(failure_file(stage_folder), "cannot be removed: " + error.message());
  }
}

}  // namespace soup
