// Byte-pair merges learned from words, with counts kept up to date merge by merge.
#include "trainer/learn_merges.hpp"

#include <algorithm>
#include <set>

#include "trainer/byte_symbols.hpp"

namespace soup {
namespace {

struct Word {
  std::vector<std::string> symbols;
  std::uint64_t occurrences;
};

// Orders pairs as they are to be merged: by count, descending, then by bytes.
struct Candidate {
  std::uint64_t count;
  Merge pair;
  bool operator<(const Candidate& other) const {
    return count != other.count ? count > other.count : pair < other.pair;
  }
};

class PairCounts {
 public:
  explicit PairCounts(std::vector<Word> words) : words_(std::move(words)) {
    for (std::size_t index = 0; index < words_.size(); ++index) {
      count_word(index, true);
    }
  }

  // The pair to merge next, or nullptr when none occurs twice.
  [[nodiscard]] const Merge* best() const {
    return queue_.empty() || queue_.begin()->count < 2 ? nullptr : &queue_.begin()->pair;
  }

  void merge(const Merge& pair) {
    const std::set<std::size_t> affected = pairs_.at(pair).words;  // a copy: count_word changes the original
    for (const std::size_t index : affected) {
      count_word(index, false);
      join(words_[index].symbols, pair);
      count_word(index, true);
    }
  }

 private:
  struct Entry {
    std::uint64_t count = 0;
    std::set<std::size_t> words;
  };

  void count_word(std::size_t index, bool add) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const Merge pair(word.symbols[i], word.symbols[i + 1]);
      Entry& entry = pairs_[pair];
      queue_.erase({entry.count, pair});
      if (add) {
        entry.count += word.occurrences;
        entry.words.insert(index);
      } else {
        entry.count -= word.occurrences;
        entry.words.erase(index);
      }
      if (entry.count > 0) {
        queue_.insert({entry.count, pair});
      } else {
        pairs_.erase(pair);
      }
    }
  }

  static void join(std::vector<std::string>& symbols, const Merge& pair) {
    std::vector<std::string> joined;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      if (i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second) {
        joined.push_back(pair.first + pair.second);
        ++i;
      } else {
        joined.push_back(std::move(symbols[i]));
      }
    }
    symbols = std::move(joined);
  }

  std::vector<Word> words_;
  std::map<Merge, Entry> pairs_;
  std::set<Candidate> queue_;
};

}  // namespace

std::vector<Merge> learn_merges(const std::map<std::string, std::uint64_t>& words, std::size_t count) {
  std::vector<Word> split;
  split.reserve(words.size());
  for (const auto& [word, occurrences] : words) {
    split.push_back({word_symbols(word), occurrences});
  }
  PairCounts pairs(std::move(split));
  std::vector<Merge> merges;
  while (merges.size() < count) {
    const Merge* best = pairs.best();
    if (best == nullptr) {
      break;
    }
    merges.push_back(*best);
    pairs.merge(merges.back());
  }
  return merges;
}

}  // namespace soup
