// CLIP's byte-level BPE tokenizer: added tokens are cut out first, the text between them is cleaned, cut into words,
// and each word merged byte by byte.
#include "trainer/tokenizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.hpp"
#include "core/text.hpp"
#include "trainer/bpe_model.hpp"
#include "trainer/byte_symbols.hpp"
#include "trainer/tokenizer_files.hpp"
#include "trainer/unicode_words.hpp"

namespace soup {
namespace {

constexpr std::int64_t smallest_vocabulary = 2 + 2 * 256;

struct Segment {
  std::string_view text;
  const AddedToken* token;  // nullptr for text between added tokens
};

// Cuts `text` at every added token with the given flag; of two that begin at one place the longer one counts.
std::vector<Segment> cut(std::string_view text, const std::vector<AddedToken>& added, bool normalized) {
  std::vector<Segment> segments;
  std::size_t plain = 0;
  for (std::size_t place = 0; place < text.size();) {
    const AddedToken* best = nullptr;
    for (const AddedToken& token : added) {
      if (token.normalized == normalized && text.substr(place).starts_with(token.content) &&
          (best == nullptr || token.content.size() > best->content.size())) {
        best = &token;
      }
    }
    if (best == nullptr) {
      ++place;
      continue;
    }
    segments.push_back({text.substr(plain, place - plain), nullptr});
    segments.push_back({text.substr(place, best->content.size()), best});
    place += best->content.size();
    plain = place;
  }
  segments.push_back({text.substr(plain), nullptr});
  return segments;
}

void require_utf8(std::string_view caption) {
  if (!is_utf8(caption)) {
    throw ConfigError(fmt::format("a caption of {} bytes is not UTF-8", caption.size()));
  }
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerFiles all, const std::string& where)
      : files(std::move(all)), model(files.tokens, files.merges, where) {
    bos = model.id(files.bos_token);
    eos = model.id(files.eos_token);
    pad = model.id(files.pad_token);
    unk = model.id(files.unk_token);
  }

  void encode_cleaned(std::string_view cleaned, std::vector<std::int64_t>& ids) const {
    for (const std::string& word : clip_words(cleaned)) {
      model.encode(word, unk, ids);
    }
  }

  TokenizerFiles files;
  BpeModel model;
  std::int64_t bos = -1;
  std::int64_t eos = -1;
  std::int64_t pad = -1;
  std::int64_t unk = -1;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  return Tokenizer(std::make_unique<Impl>(read_tokenizer_files(folder), folder.string()));
}

Tokenizer Tokenizer::learn(std::span<const std::string> captions, std::int64_t vocab_size, std::int64_t max_length) {
  if (vocab_size < smallest_vocabulary) {
    throw ConfigError(
        fmt::format("vocab_size = {} has no room for the 512 byte symbols and 2 special tokens", vocab_size),
        fmt::format("give at least {}", smallest_vocabulary));
  }
  if (max_length < 2) {
    throw ConfigError(fmt::format("max_length = {} has no room for the start and the end token", max_length));
  }
  std::map<std::string, std::uint64_t> words;
  for (const std::string& caption : captions) {
    require_utf8(caption);
    for (std::string& word : clip_words(clip_clean(caption))) {
      ++words[std::move(word)];
    }
  }
  TokenizerFiles files;
  files.max_length = max_length;
  files.added = {{files.bos_token, false}, {files.eos_token, false}};
  files.tokens = {files.bos_token, files.eos_token};
  for (const char* suffix : {"", end_of_word.data()}) {
    for (const std::string& symbol : byte_symbols()) {
      files.tokens.push_back(symbol + suffix);
    }
  }
  files.merges = learn_merges(words, static_cast<std::size_t>(vocab_size - smallest_vocabulary));
  std::set<std::string> known;
  for (const auto& [left, right] : files.merges) {
    // Two merges may give one token: "ab" + "c" and "a" + "bc".
    if (known.insert(left + right).second) {
      files.tokens.push_back(left + right);
    }
  }
  return Tokenizer(std::make_unique<Impl>(std::move(files), "the tokenizer being learned"));
}

void Tokenizer::save(const std::filesystem::path& folder) const {
  write_tokenizer_files(folder, impl_->files);
}

TokenizedCaption Tokenizer::encode(std::string_view caption) const {
  require_utf8(caption);
  std::vector<std::int64_t> ids;
  for (const Segment& given : cut(caption, impl_->files.added, false)) {
    if (given.token != nullptr) {
      ids.push_back(impl_->model.id(given.token->content));
      continue;
    }
    const std::string cleaned = clip_clean(given.text);
    for (const Segment& segment : cut(cleaned, impl_->files.added, true)) {
      if (segment.token != nullptr) {
        ids.push_back(impl_->model.id(segment.token->content));
      } else {
        impl_->encode_cleaned(segment.text, ids);
      }
    }
  }
  const auto length = static_cast<std::size_t>(max_length());
  TokenizedCaption result;
  result.truncated = ids.size() > length - 2;
  ids.resize(std::min(ids.size(), length - 2));
  result.ids.push_back(impl_->bos);
  result.ids.insert(result.ids.end(), ids.begin(), ids.end());
  result.ids.push_back(impl_->eos);
  result.ids.resize(length, impl_->pad);
  return result;
}

std::int64_t Tokenizer::vocab_size() const {
  return static_cast<std::int64_t>(impl_->model.tokens().size());
}
std::int64_t Tokenizer::max_length() const {
  return impl_->files.max_length;
}
std::int64_t Tokenizer::start_token() const {
  return impl_->bos;
}
std::int64_t Tokenizer::end_token() const {
  return impl_->eos;
}

}  // namespace soup
