// One process at a time works on a stage.
#include "experiments/stage_lock.hpp"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "core/signals.hpp"
#include "merge/ledger.hpp"

namespace soup {

namespace {

constexpr std::chrono::seconds patience_with_other_hosts(60);

std::string own_text() {
  nlohmann::ordered_json text = to_json(this_process());
  text["since"] = utc_now();
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json parsed(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

bool is_of_other_host(const nlohmann::json& holder) {
  return holder.is_object() && holder.contains("host") && holder["host"] != host_name();
}

}  // namespace

std::filesystem::path lock_file(const std::filesystem::path& run_folder, const std::string& name) {
  return run_folder / "locks" / (name + ".lock");
}

FileLock take_lock(const std::filesystem::path& run_folder, const std::string& name, Log& log) {
  const std::filesystem::path file = lock_file(run_folder, name);
  std::filesystem::create_directories(file.parent_path());
  const auto start = std::chrono::steady_clock::now();
  bool told = false;
  for (;;) {
    if (std::optional<FileLock> lock = FileLock::try_take(file, own_text())) {
      if (!lock->abandoned().empty()) {
        log.info(fmt::format("{}: goes on where {} ended without finishing", name,
                             describe_process(parsed(lock->abandoned()))));
      }
      if (!lock->is_kept()) {
        log.warn(fmt::format("{}: this file system has no locks; see to it that no other process works here",
                             file.string()));
      }
      return std::move(*lock);
    }
    const nlohmann::json holder = parsed(lock_holder(file).value_or("{}"));
    const bool waits = is_of_other_host(holder) && std::chrono::steady_clock::now() - start < patience_with_other_hosts;
    if (!waits || stop_requested()) {
      throw DataError(run_folder, fmt::format("{} is at work on {}", describe_process(holder), name),
                      "wait for it or stop it; one process at a time writes there");
    }
    if (!told) {
      told = true;
      log.info(fmt::format("{}: waiting for {}", name, describe_process(holder)));
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace soup
