// What verification has found, finding by finding.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/digest.hpp"

namespace soup {

// not_checked: something that the check needs is not here. It is no success.
enum class FindingState { good, bad, not_checked };

struct Finding {
  std::filesystem::path what;
  FindingState state = FindingState::bad;
  std::string detail;  // what was recomputed, how it disagrees, or what is missing

  [[nodiscard]] bool good() const { return state == FindingState::good; }
};

class Verifier {
 public:
  // Runs one check, which returns what it recomputed; what it throws is its finding.
  void check(const std::filesystem::path& what, const std::function<std::string()>& body);
  void not_checked(const std::filesystem::path& what, const std::string& reason);
  // Whether this was asked for the first time: of what several soups have in common one finding is enough.
  [[nodiscard]] bool is_first_look(const std::filesystem::path& what);
  [[nodiscard]] std::vector<Finding> take();

 private:
  std::vector<Finding> findings_;
  std::vector<std::filesystem::path> seen_;
};

// Throws DataError naming both.
void require_equal(const std::filesystem::path& path, const std::string& what, const Digest& found,
                   const Digest& promised);

}  // namespace soup
