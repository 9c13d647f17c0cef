// Small helpers on text that several folders need.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

[[nodiscard]] bool is_utf8(std::string_view text);
// What a message shows of a text from elsewhere: always UTF-8 (U+FFFD for what is not), cut between characters, with
// "..." behind it, when it is longer than `most_bytes`.
[[nodiscard]] std::string excerpt(std::string_view text, std::size_t most_bytes = 80);
// Nearest of `candidates` by edit distance, or "" when none is near enough to suggest.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> candidates);
// Whether the whole text is the pattern, in which each * stands for any run of characters, also of none.
[[nodiscard]] bool matches_pattern(std::string_view text, std::string_view pattern);
// "1.2 GiB", "340 KiB".
[[nodiscard]] std::string human_bytes(double bytes);
// "2 h 03 min", "4 min 10 s", "12 s", "0.4 s"; "unknown" for what is not finite.
[[nodiscard]] std::string human_seconds(double seconds);
// One part more than there are separators, empty ones included; "" has one empty part.
[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);
// Every `from` of the text becomes `to`, in which nothing is replaced again.
void replace_all(std::string& text, std::string_view from, std::string_view to);

}  // namespace soup
