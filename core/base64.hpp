// Bytes as base64 text (RFC 4648 section 4), with padding and without line breaks.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

[[nodiscard]] std::string to_base64(std::span<const std::byte> bytes);
// nullopt for what to_base64 never writes: other characters, missing padding, bits set beyond the last byte. So each
// text that is accepted stands for other bytes.
[[nodiscard]] std::optional<std::vector<std::byte>> from_base64(std::string_view text);

}  // namespace soup
