// The printable character that stands for each byte in a byte-level BPE vocabulary (Radford et al. 2019, GPT-2).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

inline constexpr std::string_view end_of_word = "</w>";

// Bytes that Latin-1 prints stand for themselves, the others for U+0100, U+0101, ... in order; as UTF-8.
[[nodiscard]] const std::array<std::string, 256>& byte_symbols();
// One symbol per byte of `word`, the last with "</w>" behind it. `word` must not be empty.
[[nodiscard]] std::vector<std::string> word_symbols(std::string_view word);

}  // namespace soup
