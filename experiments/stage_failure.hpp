// What a stage that failed leaves in its folder, until it is started again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "core/error.hpp"
#include "core/process_identity.hpp"

namespace soup {

struct StageFailure {
  std::string time;  // ISO 8601, UTC
  ProcessIdentity process;
  int exit_code = 0;
  std::string error;  // with its hint
};

// <folder>/FAILED (JSON). The folder is made where it is missing.
void write_failure(const std::filesystem::path& stage_folder, const StageFailure& failure);
// nullopt when there is none; DataError when it is unreadable.
std::optional<StageFailure> read_failure(const std::filesystem::path& stage_folder);
void remove_failure(const std::filesystem::path& stage_folder);

}  // namespace soup
