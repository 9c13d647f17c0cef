// A byte-pair vocabulary with its merges: words to token ids.
#include "trainer/bpe_model.hpp"

#include <fmt/format.h>

#include <queue>
#include <tuple>

#include "core/error.hpp"
#include "trainer/byte_symbols.hpp"

namespace soup {
namespace {

std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

}  // namespace

BpeModel::BpeModel(std::vector<std::string> tokens, std::vector<Merge> merges, const std::string& where)
    : tokens_(std::move(tokens)), merges_(std::move(merges)) {
  for (const std::string& token : tokens_) {
    if (!ids_.emplace(token, static_cast<std::int64_t>(ids_.size())).second) {
      throw DataError(where, fmt::format("token \"{}\" is in the vocabulary twice", token));
    }
  }
  std::int64_t rank = 0;
  for (const auto& [left, right] : merges_) {
    const std::int64_t result = id(left + right);
    if (id(left) < 0 || id(right) < 0 || result < 0) {
      throw DataError(where, fmt::format("merge {} (\"{}\" with \"{}\") needs a token that the vocabulary lacks",
                                         rank + 1, left, right));
    }
    rules_.insert_or_assign(pair_key(id(left), id(right)), Rule{rank, result});
    ++rank;
  }
}

std::int64_t BpeModel::id(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  return found == ids_.end() ? -1 : found->second;
}

const BpeModel::Rule* BpeModel::rule(std::int64_t left, std::int64_t right) const {
  const auto found = rules_.find(pair_key(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

void BpeModel::encode(std::string_view word, std::int64_t unknown, std::vector<std::int64_t>& ids) const {
  // A doubly linked list in arrays; a token joined into its left neighbour keeps its place with id -1.
  std::vector<std::int64_t> symbols;
  for (const std::string& symbol : word_symbols(word)) {
    const std::int64_t found = id(symbol);
    symbols.push_back(found < 0 ? unknown : found);
  }
  const std::size_t count = symbols.size();
  std::vector<std::size_t> next(count);
  std::vector<std::size_t> previous(count);
  // (rank, place of the left token, the two ids when it was queued): lowest rank first, then leftmost.
  using Candidate = std::tuple<std::int64_t, std::size_t, std::int64_t, std::int64_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::size_t left) {
    if (next[left] < count) {
      if (const Rule* found = rule(symbols[left], symbols[next[left]]); found != nullptr) {
        queue.emplace(found->rank, left, symbols[left], symbols[next[left]]);
      }
    }
  };
  for (std::size_t i = 0; i < count; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;  // wraps for i = 0: never below count
    if (i > 0) {
      consider(i - 1);
    }
  }
  while (!queue.empty()) {
    const auto [rank, left, left_id, right_id] = queue.top();
    queue.pop();
    const std::size_t right = next[left];
    if (symbols[left] != left_id || right >= count || symbols[right] != right_id) {
      continue;  // joined otherwise since it was queued
    }
    symbols[left] = rule(left_id, right_id)->result;
    symbols[right] = -1;
    next[left] = next[right];
    if (next[left] < count) {
      previous[next[left]] = left;
    }
    consider(left);
    if (previous[left] < count) {
      consider(previous[left]);
    }
  }
  for (const std::int64_t symbol : symbols) {
    if (symbol >= 0) {
      ids.push_back(symbol);
    }
  }
}

}  // namespace soup
