// Small pieces of HTML: escaped text, numbers with their standard errors, embedded files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "experiments/metrics.hpp"

namespace soup {

// & < > " ' as entities; safe as text and inside quoted attributes.
[[nodiscard]] std::string escaped(std::string_view text);
// 1234567 -> "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t number);
// "0.312"; a true minus sign; "–" for NaN.
[[nodiscard]] std::string decimal(double value, int decimals);
// "0.312 <span class="se">±0.008</span>"; the error left out where it is NaN.
[[nodiscard]] std::string with_error(const Estimate& estimate, int decimals);
// "data:image/png;base64,..."
[[nodiscard]] std::string data_uri(std::string_view media_type, std::span<const std::byte> bytes);

}  // namespace soup
