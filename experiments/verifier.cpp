// What verification has found, finding by finding.
#include "experiments/verifier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace soup {

void Verifier::check(const std::filesystem::path& what, const std::function<std::string()>& body) {
  try {
    findings_.push_back({what, FindingState::good, body()});
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    findings_.push_back({what, FindingState::bad, error.message()});
  }
}

void Verifier::not_checked(const std::filesystem::path& what, const std::string& reason) {
  findings_.push_back({what, FindingState::not_checked, reason});
}

bool Verifier::is_first_look(const std::filesystem::path& what) {
  const std::filesystem::path normal = std::filesystem::absolute(what).lexically_normal();
  if (std::ranges::find(seen_, normal) != seen_.end()) {
    return false;
  }
  seen_.push_back(normal);
  return true;
}

std::vector<Finding> Verifier::take() {
  return std::move(findings_);
}

void require_equal(const std::filesystem::path& path, const std::string& what, const Digest& found,
                   const Digest& promised) {
  if (found != promised) {
    throw DataError(path, fmt::format("{}: {} was promised, {} was found", what, promised.brief(), found.brief()),
                    "the content has changed since; make it again, or take it from a backup");
  }
}

}  // namespace soup
