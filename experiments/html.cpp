#include "experiments/html.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <cmath>

namespace soup {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (auto place = static_cast<std::ptrdiff_t>(digits.size()) - 3; place > 0; place -= 3) {
    digits.insert(static_cast<std::size_t>(place), 1, ',');
  }
  return digits;
}

std::string decimal(double value, int decimals) {
  if (std::isnan(value)) {
    return "–";
  }
  const std::string digits = fmt::format("{:.{}f}", std::abs(value), decimals);
  const bool is_zero = digits.find_first_not_of("0.") == std::string::npos;
  return (value < 0.0 && !is_zero ? "−" : "") + digits;
}

std::string with_error(const Estimate& estimate, int decimals) {
  std::string text = decimal(estimate.value, decimals);
  if (!std::isnan(estimate.value) && !std::isnan(estimate.standard_error)) {
    text += fmt::format(" <span class=\"se\">±{}</span>", decimal(estimate.standard_error, decimals));
  }
  return text;
}

std::string data_uri(std::string_view media_type, std::span<const std::byte> bytes) {
  std::string base64(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock ends with a zero byte
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(base64.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  base64.resize(static_cast<std::size_t>(length));
  return fmt::format("data:{};base64,{}", media_type, base64);
}

}  // namespace soup
