// The printable character that stands for each byte in a byte-level BPE vocabulary.
#include "trainer/byte_symbols.hpp"

#include <utf8cpp/utf8.h>

#include <iterator>

namespace soup {
namespace {

std::array<std::string, 256> make_symbols() {
  std::array<std::string, 256> symbols;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    utf8::append(printable ? byte : next++, std::back_inserter(symbols[byte]));
  }
  return symbols;
}

}  // namespace

const std::array<std::string, 256>& byte_symbols() {
  static const std::array<std::string, 256> symbols = make_symbols();
  return symbols;
}

std::vector<std::string> word_symbols(std::string_view word) {
  std::vector<std::string> symbols;
  for (const char byte : word) {
    symbols.push_back(byte_symbols()[static_cast<unsigned char>(byte)]);
  }
  symbols.back() += end_of_word;
  return symbols;
}

}  // namespace soup
