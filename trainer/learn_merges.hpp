// Byte-pair merges learned from words (Sennrich et al. 2016, algorithm 1), deterministic. No torch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace soup {

using Merge = std::pair<std::string, std::string>;

// At most `count` merges of neighbouring symbols: the most frequent pair first, of equally frequent ones the least in
// byte order; a pair that occurs once is never merged. words: how often each occurs; none is empty.
[[nodiscard]] std::vector<Merge> learn_merges(const std::map<std::string, std::uint64_t>& words, std::size_t count);

}  // namespace soup
