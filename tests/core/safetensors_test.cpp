// Safetensors: exact bytes written, hand-made files read, every forbidden header refused with its reason.
#include "core/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string little_endian(std::uint64_t value) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &value, 8);
  return bytes;
}

// A file with this header and `data_bytes` bytes 0, 1, 2, ... behind it.
std::string file_text(const std::string& header, std::size_t data_bytes) {
  std::string text = little_endian(header.size()) + header;
  for (std::size_t i = 0; i < data_bytes; ++i) {
    text.push_back(static_cast<char>(i));
  }
  return text;
}

std::string refusal(const std::string& content) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "x.safetensors", content);
  try {
    const SafetensorsFile file(folder / "x.safetensors");
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr((folder / "x.safetensors").string() + ": "));
    return error.what();
  }
  return "accepted";
}

std::string header_refusal(const std::string& header, std::size_t data_bytes = 0) {
  return refusal(file_text(header, data_bytes));
}

TEST(Safetensors, WritesExactlyTheseBytes) {
  const test::TemporaryFolder folder;
  const std::array<float, 2> values = {1.0F, -2.0F};
  const std::array<std::int64_t, 1> step = {7};
  const std::vector<TensorSource> tensors = {{"w", DType::f32, {1, 2}, std::as_bytes(std::span(values))},
                                             {"step\"", DType::i64, {}, std::as_bytes(std::span(step))}};
  write_safetensors(folder / "a.safetensors", tensors, {{"format", "pt"}, {"base", "abc"}});
  std::string header =
      R"({"__metadata__":{"base":"abc","format":"pt"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("step\"":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::string expected =
      little_endian(header.size()) + header + std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8) + little_endian(7);
  EXPECT_EQ(read_file(folder / "a.safetensors"), expected);
}

TEST(Safetensors, ReadsWhatItWrote) {
  const test::TemporaryFolder folder;
  const std::string bytes = "0123456789abcdef";
  const auto some = [&](std::size_t count) { return std::as_bytes(std::span(bytes).first(count)); };
  const std::vector<TensorSource> tensors = {{"z", DType::u8, {3}, some(3)},
                                             {"none", DType::f64, {0, 4}, some(0)},
                                             {"a", DType::bf16, {2, 2}, some(8)},
                                             {"flag", DType::boolean, {}, some(1)},
                                             {"\xC3\xA4 ", DType::i16, {1}, some(2)}};
  write_safetensors(folder / "a.safetensors", tensors, {});
  SafetensorsFile file(folder / "a.safetensors");
  const SafetensorsFile moved(std::move(file));
  ASSERT_EQ(moved.tensors().size(), tensors.size());
  EXPECT_TRUE(moved.metadata().empty());
  for (const TensorSource& tensor : tensors) {
    const TensorInfo* const found = moved.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->dtype, tensor.dtype);
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_TRUE(std::ranges::equal(moved.bytes(*found), tensor.bytes)) << tensor.name;
  }
  EXPECT_EQ(moved.find("missing"), nullptr);
  EXPECT_EQ(moved.path(), folder / "a.safetensors");
}

TEST(Safetensors, NoTensorsAtAll) {
  const test::TemporaryFolder folder;
  write_safetensors(folder / "a.safetensors", {}, {{"k", "v"}});
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_EQ(file.metadata().at("k"), "v");
}

TEST(Safetensors, TensorsComeInOrderOfOffset) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "a", file_text(R"({"b":{"data_offsets":[2,3],"shape":[1],"dtype":"I8"},)"
                                                R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   )",
                                                3));
  const SafetensorsFile file(folder / "a");
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "b");
  EXPECT_THAT(file.bytes(file.tensors()[1]), ElementsAre(std::byte{2}));
}

TEST(Safetensors, EveryDTypeHasItsSize) {
  const std::vector<std::pair<DType, std::size_t>> sizes = {
      {DType::f64, 8}, {DType::f32, 4}, {DType::f16, 2}, {DType::bf16, 2}, {DType::i64, 8},
      {DType::i32, 4}, {DType::i16, 2}, {DType::i8, 1},  {DType::u8, 1},   {DType::boolean, 1}};
  for (const auto& [dtype, bytes] : sizes) {
    EXPECT_EQ(size_of(dtype), bytes) << name_of(dtype);
  }
}

TEST(Safetensors, LengthFieldIsChecked) {
  EXPECT_THAT(refusal(""), HasSubstr("holds 0 bytes"));
  EXPECT_THAT(refusal("1234567"), HasSubstr("holds 7 bytes"));
  EXPECT_THAT(refusal(little_endian(3) + "{}"), HasSubstr("header has 3 bytes; the file has 2"));
  EXPECT_THAT(refusal(little_endian(~std::uint64_t{0}) + "{}"), HasSubstr("18446744073709551615"));
  EXPECT_THAT(refusal(little_endian(100'000'001) + "{}" + std::string(100'000'000, ' ')),
              HasSubstr("a header at most 100000000"));
}

TEST(Safetensors, HeaderMustBeAJsonObject) {
  EXPECT_THAT(header_refusal(""), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(header_refusal(" {}"), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(header_refusal("[]"), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(header_refusal("{"), HasSubstr("not JSON"));
  EXPECT_THAT(header_refusal("{}{}"), HasSubstr("not JSON"));
  EXPECT_THAT(header_refusal(std::string("{}\0", 3)), HasSubstr("not JSON"));
  EXPECT_THAT(header_refusal("{\"\xFF\":1}"), HasSubstr("not JSON"));
  EXPECT_EQ(header_refusal("{}"), "accepted");
}

TEST(Safetensors, FieldsAreChecked) {
  EXPECT_THAT(header_refusal(R"({"a":1})"), HasSubstr("tensor \"a\": it is a number"));
  EXPECT_THAT(header_refusal(R"({"a":[]})"), HasSubstr("an array"));
  EXPECT_THAT(header_refusal(R"({"a":{}})"), HasSubstr("dtype is missing"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[0]}})"), HasSubstr("data_offsets is missing"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","data_offsets":[0,0]}})"), HasSubstr("shape is missing"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F8_E5M2"}})"), HasSubstr("unknown dtype \"F8_E5M2\""));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":3}})"), HasSubstr("dtype holds a number"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":["U8"]}})"), HasSubstr("dtype holds an array"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":"U8"}})"), HasSubstr("shape holds a string"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":{}}})"), HasSubstr("shape holds an object"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":null}})"), HasSubstr("shape holds null"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[true]}})"), HasSubstr("shape holds true"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[-1]}})"), HasSubstr("the number -1"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[1.0]}})"), HasSubstr("the number 1.0"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[[1]]}})"), HasSubstr("an array"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[9223372036854775808]}})"), HasSubstr("more than 2^63"));
  EXPECT_THAT(header_refusal(R"({"a":{"strides":[1]}})"), HasSubstr("unknown field \"strides\""));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"a":1}})"), HasSubstr("__metadata__: \"a\" is a number"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"a":{}}})"), HasSubstr("__metadata__: \"a\" is an object"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":[]})"), HasSubstr("an array"));
}

TEST(Safetensors, RepetitionsAreRefused) {
  const std::string tensor = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(header_refusal("{" + tensor + "}"), "accepted");
  EXPECT_THAT(header_refusal("{" + tensor + "," + tensor + "}"), HasSubstr("names it twice"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","dtype":"U8"}})"), HasSubstr("\"dtype\" is there twice"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[],"shape":[]}})"), HasSubstr("\"shape\" is there twice"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{},"__metadata__":{}})"), HasSubstr("twice"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"k":"1","k":"2"}})"), HasSubstr("\"k\" is there twice"));
}

std::string u8(const std::string& name, int begin, int end) {
  return "\"" + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

TEST(Safetensors, OffsetsMustTileTheData) {
  EXPECT_EQ(header_refusal("{" + u8("a", 0, 2) + "," + u8("b", 2, 4) + "}", 4), "accepted");
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 3) + "," + u8("b", 2, 4) + "}", 4), HasSubstr("begins at byte 2"));
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 1) + "," + u8("b", 2, 4) + "}", 4), HasSubstr("end at 1"));
  EXPECT_THAT(header_refusal("{" + u8("a", 1, 4) + "}", 4), HasSubstr("begins at byte 1"));
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 4) + "}", 3), HasSubstr("need 4 bytes of data, but the file holds 3"));
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 4) + "}", 5), HasSubstr("but the file holds 5"));
  EXPECT_THAT(header_refusal("{}", 1), HasSubstr("need 0 bytes"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[3,2]}})", 3), HasSubstr("backwards"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}})"), HasSubstr("1 numbers"));
}

TEST(Safetensors, ShapeAndDTypeMustGiveTheLength) {
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
              HasSubstr("shape [2] of F32 needs 8 bytes, but data_offsets span 4"));
  // 2^33 * 2^33 wraps to 0 where the product is not checked.
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[8589934592,8589934592],"data_offsets":[0,0]}})"),
              HasSubstr("more than 2^63"));
}

TEST(Safetensors, DeepNestingIsRefusedAtOnce) {
  EXPECT_THAT(header_refusal(R"({"a":)" + std::string(1'000'000, '[')), HasSubstr("an array"));
  std::string objects = R"({"a":)";
  for (int i = 0; i < 100'000; ++i) {
    objects += R"({"shape":)";
  }
  EXPECT_THAT(header_refusal(objects), HasSubstr("shape holds an object"));
}

TEST(Safetensors, PlacesThatAreNoFiles) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(SafetensorsFile(folder / "missing"), DataError);
  EXPECT_THROW(SafetensorsFile(folder.path()), DataError);
  EXPECT_THROW(SafetensorsFile("/dev/null"), DataError);
}

TEST(Safetensors, WriterRefusesWhatReadersWould) {
  const test::TemporaryFolder folder;
  const std::string bytes = "1234";
  const auto four = std::as_bytes(std::span(bytes));
  const auto write = [&](const std::vector<TensorSource>& tensors, const std::map<std::string, std::string>& metadata) {
    write_safetensors(folder / "a", tensors, metadata);
  };
  EXPECT_THROW(write({{"a", DType::u8, {3}, four}}, {}), InvariantError);
  EXPECT_THROW(write({{"a", DType::u8, {-4}, four}}, {}), InvariantError);
  EXPECT_THROW(write({{"a", DType::u8, {4}, four}, {"a", DType::u8, {4}, four}}, {}), InvariantError);
  EXPECT_THROW(write({{"__metadata__", DType::u8, {4}, four}}, {}), InvariantError);
  EXPECT_THROW(write({{"\xFF", DType::u8, {4}, four}}, {}), InvariantError);
  EXPECT_THROW(write({{"a", DType::u8, {4}, four}}, {{"k", "\xFF"}}), InvariantError);
  EXPECT_EQ(folder.entries(), 0);
}

}  // namespace
}  // namespace soup
