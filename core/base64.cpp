// Bytes as base64 text (RFC 4648 section 4).
#include "core/base64.hpp"

#include <array>
#include <cstdint>

namespace soup {

namespace {

constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t at) {
      return at < bytes.size() ? static_cast<std::uint32_t>(bytes[at]) : std::uint32_t{0};
    };
    const std::uint32_t bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    text += base64_digits[bits >> 18];
    text += base64_digits[bits >> 12 & 63];
    text += i + 1 < bytes.size() ? base64_digits[bits >> 6 & 63] : '=';
    text += i + 2 < bytes.size() ? base64_digits[bits & 63] : '=';
  }
  return text;
}

std::optional<std::vector<std::byte>> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  const std::string_view digits = text.substr(0, text.size() - padding);
  std::vector<std::byte> bytes;
  std::uint32_t bits = 0;
  std::size_t held = 0;  // bits not yet written
  for (const char digit : digits) {
    const std::size_t value = base64_digits.find(digit);
    if (value == std::string_view::npos) {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<std::byte>(bits >> held));
      bits &= (1U << held) - 1;
    }
  }
  return bits == 0 ? std::optional(std::move(bytes)) : std::nullopt;
}

}  // namespace soup
