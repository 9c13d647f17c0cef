// Properties of the safetensors reader and writer over random files: round trips are exact, and a mutated file either
// loads with every tensor inside the file or is refused with a DataError.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "core/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

constexpr std::array all_dtypes = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64,
                                   DType::i32, DType::i16, DType::i8,  DType::u8,   DType::boolean};

struct RandomModel {
  std::vector<TensorSource> tensors;
  std::vector<std::vector<std::byte>> storage;
  std::map<std::string, std::string> metadata;
};

std::string random_name(RandomStream& random) {
  static const std::vector<std::string> name_pieces = {"a",  ".",        "weight", "\"",   "\\",
                                                       "\n", "\xC3\xA4", "{",      "\x01", "0"};
  std::string name;
  for (std::uint64_t i = random.below(6); i-- > 0;) {
    name += name_pieces[random.below(name_pieces.size())];
  }
  return name;
}

RandomModel random_model(RandomStream& random) {
  RandomModel model;
  const std::uint64_t count = random.below(6);
  for (std::uint64_t i = 0; i < count; ++i) {
    TensorSource tensor;
    tensor.name = std::to_string(i) + random_name(random);
    tensor.dtype = all_dtypes[random.below(all_dtypes.size())];
    std::size_t bytes = size_of(tensor.dtype);
    for (std::uint64_t axis = random.below(4); axis-- > 0;) {
      tensor.shape.push_back(static_cast<std::int64_t>(random.below(4)));
      bytes *= static_cast<std::size_t>(tensor.shape.back());
    }
    std::vector<std::byte>& content = model.storage.emplace_back(bytes);
    for (std::byte& byte : content) {
      byte = static_cast<std::byte>(random.below(256));
    }
    tensor.bytes = content;  // moving the outer vector's elements keeps their storage
    model.tensors.push_back(std::move(tensor));
  }
  for (std::uint64_t i = random.below(3); i-- > 0;) {
    model.metadata[random_name(random)] = random_name(random);
  }
  return model;
}

TEST(SafetensorsProperty, RoundTripIsExactAndRepeatable) {
  const test::TemporaryFolder folder;
  RandomStream random = SeedTree(1).stream("test", "round trip", 0);
  for (int round = 0; round < 100; ++round) {
    const RandomModel model = random_model(random);
    write_safetensors(folder / "a", model.tensors, model.metadata);
    write_safetensors(folder / "b", model.tensors, model.metadata);
    ASSERT_EQ(read_file(folder / "a"), read_file(folder / "b"));
    const SafetensorsFile file(folder / "a");
    ASSERT_EQ(file.metadata(), model.metadata);
    ASSERT_EQ(file.tensors().size(), model.tensors.size());
    for (const TensorSource& tensor : model.tensors) {
      const TensorInfo* const found = file.find(tensor.name);
      ASSERT_NE(found, nullptr) << tensor.name;
      ASSERT_EQ(found->dtype, tensor.dtype);
      ASSERT_EQ(found->shape, tensor.shape);
      ASSERT_TRUE(std::ranges::equal(file.bytes(*found), tensor.bytes));
    }
  }
}

// Flips bits, overwrites, inserts, removes, repeats or cuts; mostly in the header, where the structure is.
void mutate(std::string& text, RandomStream& random) {
  static constexpr std::string_view token_characters = "{}[]\",:0123456789-.eE \\nulltrueFUIB\x00\xFF";
  const std::size_t position = random.below(text.size() + 1);
  const std::size_t length = random.below(std::min<std::size_t>(text.size() - position, 40) + 1);
  switch (random.below(7)) {
    case 0:
      if (position < text.size()) {
        text[position] = static_cast<char>(static_cast<unsigned char>(text[position]) ^ (1U << random.below(8)));
      }
      break;
    case 1:
    case 2:
      if (position < text.size()) {
        text[position] = token_characters[random.below(token_characters.size())];
      }
      break;
    case 3:
      text.insert(position, 1, token_characters[random.below(token_characters.size())]);
      break;
    case 4:
      text.erase(position, length);
      break;
    case 5:
      text.insert(random.below(text.size() + 1), text.substr(position, length));
      break;
    default:
      text.resize(position);
  }
}

TEST(SafetensorsProperty, MutatedFilesLoadSafelyOrAreRefused) {
  const test::TemporaryFolder folder;
  RandomStream random = SeedTree(1).stream("test", "mutation", 0);
  int loaded = 0;
  int refused = 0;
  Digest sink;
  for (int round = 0; round < 60; ++round) {
    const RandomModel model = random_model(random);
    write_safetensors(folder / "valid", model.tensors, model.metadata);
    const std::string valid = read_file(folder / "valid");
    for (int variant = 0; variant < 80; ++variant) {
      std::string text = valid;
      for (std::uint64_t i = random.below(3) + 1; i-- > 0;) {
        mutate(text, random);
      }
      // The length field made to fit again, so that mutations reach the checks behind it.
      if (random.below(2) == 0 && text.size() >= 8 && valid.size() >= 8) {
        std::uint64_t header_bytes = 0;
        std::memcpy(&header_bytes, valid.data(), sizeof(header_bytes));
        const std::uint64_t fitted = header_bytes + text.size() - valid.size();
        std::memcpy(text.data(), &fitted, sizeof(fitted));
      }
      std::ofstream(folder / "mutated", std::ios::binary) << text;
      try {
        const SafetensorsFile file(folder / "mutated");
        std::uint64_t bytes = 0;
        for (const TensorInfo& tensor : file.tensors()) {
          // Reads every byte: outside the map the process would die here.
          sink = Sha256().update(sink.hex()).update(file.bytes(tensor)).finish();
          const std::int64_t elements =
              std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::int64_t{1}, std::multiplies<>());
          ASSERT_EQ(static_cast<std::uint64_t>(elements) * size_of(tensor.dtype), tensor.end - tensor.begin);
          bytes += tensor.end - tensor.begin;
        }
        ASSERT_LE(bytes + 8, text.size());
        ++loaded;
      } catch (const DataError&) {
        ++refused;
      }
    }
  }
  // Both must happen often, else the mutations test nothing.
  EXPECT_GT(loaded, 100);
  EXPECT_GT(refused, 2000);
}

// Every prefix of a file is refused: a cut copy is never taken for a whole one.
TEST(SafetensorsProperty, EveryTruncationIsRefused) {
  const test::TemporaryFolder folder;
  const std::string bytes = "0123456789abcdef";
  const std::vector<TensorSource> tensors = {{"a", DType::f32, {2}, std::as_bytes(std::span(bytes).first(8))},
                                             {"b", DType::u8, {8}, std::as_bytes(std::span(bytes).last(8))}};
  write_safetensors(folder / "valid", tensors, {{"k", "v"}});
  const std::string valid = read_file(folder / "valid");
  for (std::size_t length = 0; length < valid.size(); ++length) {
    std::ofstream(folder / "cut", std::ios::binary) << valid.substr(0, length);
    EXPECT_THROW(SafetensorsFile(folder / "cut"), DataError) << length << " of " << valid.size() << " bytes";
  }
}

}  // namespace
}  // namespace soup
