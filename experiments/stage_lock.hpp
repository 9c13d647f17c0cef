// One process at a time works on a stage of a run, and one `soup run` on a run.
#pragma once

#include <filesystem>
#include <string>

#include "core/file_lock.hpp"
#include "core/log.hpp"

namespace soup {

// <run folder>/locks/<name>.lock
std::filesystem::path lock_file(const std::filesystem::path& run_folder, const std::string& name);

// Takes the lock of a stage, or of the run ("run"). A lock whose holder died is taken over, and said so. A holder on
// another host gets a minute: after a machine's death the file system may keep its locks for a while, and a requeued
// job must not fail by that. Throws DataError naming the holder.
FileLock take_lock(const std::filesystem::path& run_folder, const std::string& name, Log& log);

}  // namespace soup
