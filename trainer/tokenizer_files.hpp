// A CLIP tokenizer's folder as transformers writes it: vocab.json and merges.txt, or tokenizer.json, with
// tokenizer_config.json and special_tokens_map.json. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/learn_merges.hpp"

namespace soup {

// A token found in the text before it is cut into words.
struct AddedToken {
  std::string content;
  // Searched in the cleaned text instead of the text as given.
  bool normalized = false;
};

struct TokenizerFiles {
  std::vector<std::string> tokens;  // by id
  std::vector<Merge> merges;
  std::string bos_token = "<|startoftext|>";
  std::string eos_token = "<|endoftext|>";
  std::string pad_token = "<|endoftext|>";
  std::string unk_token = "<|endoftext|>";
  std::vector<AddedToken> added;  // at least the four above, none twice
  std::int64_t max_length = 0;
};

// Throws DataError naming file and key for whatever is missing, malformed or not implemented.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);
// Writes vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json into an existing folder.
void write_tokenizer_files(const std::filesystem::path& folder, const TokenizerFiles& files);

}  // namespace soup
