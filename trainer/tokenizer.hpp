// CLIP's byte-level BPE tokenizer (vocab.json + merges.txt as transformers writes them), and learning one from
// captions. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

struct TokenizedCaption {
  std::vector<std::int64_t> ids;  // max_length entries: <|startoftext|>, tokens, <|endoftext|>, padding
  bool truncated = false;
};

class Tokenizer {
 public:
  // A folder with tokenizer_config.json and either vocab.json and merges.txt or tokenizer.json. Throws DataError.
  static Tokenizer load(const std::filesystem::path& folder);
  // Byte-pair merges learned from captions (most frequent pair first, ties by lexical order, so the result is a
  // function of the multiset of captions). vocab_size counts the two special tokens (ids 0 and 1) and the 512 byte
  // symbols (with and without </w>); captions too few for so many pairs that occur twice give a smaller vocabulary.
  // Throws ConfigError for sizes out of range and for captions that are not UTF-8.
  static Tokenizer learn(std::span<const std::string> captions, std::int64_t vocab_size, std::int64_t max_length);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Writes vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json: loadable by transformers'
  // CLIPTokenizer.
  void save(const std::filesystem::path& folder) const;
  // Throws ConfigError when `caption` is not UTF-8.
  [[nodiscard]] TokenizedCaption encode(std::string_view caption) const;
  [[nodiscard]] std::int64_t vocab_size() const;
  [[nodiscard]] std::int64_t max_length() const;
  [[nodiscard]] std::int64_t start_token() const;
  [[nodiscard]] std::int64_t end_token() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace soup
