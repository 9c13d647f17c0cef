// A byte-pair vocabulary with its merges: words to token ids. No torch.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "trainer/learn_merges.hpp"

namespace soup {

class BpeModel {
 public:
  // tokens: token i has id i. Throws DataError, naming `where`, for a repeated token or a merge whose parts or result
  // are not tokens.
  BpeModel(std::vector<std::string> tokens, std::vector<Merge> merges, const std::string& where);

  // Appends the ids of one word: of all neighbours that merge, the pair that comes first in the list of merges is
  // joined, the leftmost such first, until none is left. A byte without token becomes `unknown`.
  void encode(std::string_view word, std::int64_t unknown, std::vector<std::int64_t>& ids) const;

  // -1 when absent.
  [[nodiscard]] std::int64_t id(std::string_view token) const;
  [[nodiscard]] const std::vector<std::string>& tokens() const { return tokens_; }
  [[nodiscard]] const std::vector<Merge>& merges() const { return merges_; }

 private:
  struct Rule {
    std::int64_t rank;
    std::int64_t result;
  };
  // nullptr when the two do not merge.
  [[nodiscard]] const Rule* rule(std::int64_t left, std::int64_t right) const;

  std::vector<std::string> tokens_;
  std::vector<Merge> merges_;
  std::unordered_map<std::string, std::int64_t> ids_;
  std::unordered_map<std::uint64_t, Rule> rules_;
};

}  // namespace soup
