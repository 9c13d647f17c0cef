// How CLIP's tokenizer cleans text and cuts it into words, with ICU's character classes. No torch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace soup {

// NFC, then lower case character by character (no context: a final sigma stays a medial one, as in transformers'
// tokenizers). UTF-8 in and out.
[[nodiscard]] std::string clip_clean(std::string_view text);

// Cuts cleaned text into the matches, in order, of CLIP's pattern
//   <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
// where the two markers fall apart again into their three words (transformers' byte-level step splits once more); what
// lies between matches is white space and dropped. UTF-8 in and out; no word is empty.
[[nodiscard]] std::vector<std::string> clip_words(std::string_view cleaned);

}  // namespace soup
