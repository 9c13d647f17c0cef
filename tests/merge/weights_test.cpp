// Damaged, hostile and contradictory weights files through Weights::open: each refused with the file and what
// disagrees.
#include "merge/weights.hpp"

#include <gmock/gmock.h>

#include <cstring>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A tensor of bytes at these offsets, as the header has it.
std::string u8(const std::string& name, int begin, int end) {
  return "\"" + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// A safetensors file whose length field says `header_bytes`.
std::string file_of(std::uint64_t header_bytes, const std::string& header, const std::string& data) {
  std::string text(sizeof(header_bytes), '\0');
  std::memcpy(text.data(), &header_bytes, sizeof(header_bytes));
  return text + header + data;
}
std::string file_of(const std::string& header, const std::string& data = {}) {
  return file_of(header.size(), header, data);
}

class WeightsTest : public testing::Test {
 protected:
  fs::path put(const std::string& name, const std::string& content) {
    write_file_atomically(folder_ / name, content);
    return folder_ / name;
  }
  // What opening says, after checking that it names `named` (the file itself when left out); "accepted" otherwise.
  static std::string refusal(const fs::path& path, const fs::path& named = {}) {
    try {
      static_cast<void>(Weights::open(path));
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr((named.empty() ? path : named).string() + ": "));
      return error.message();
    }
    return "accepted";
  }
  std::string refusal_of(const std::string& content) { return refusal(put("x.safetensors", content)); }
  std::string header_refusal(const std::string& header, const std::string& data = {}) {
    return refusal_of(file_of(header, data));
  }
  // Of an index with this text beside a.safetensors, with the tensors a and b, and b.safetensors, with c.
  std::string index_refusal(const std::string& text, const std::string& named = "x.safetensors.index.json") {
    put("a.safetensors", file_of("{" + u8("a", 0, 1) + "," + u8("b", 1, 3) + "}", "123"));
    put("b.safetensors", file_of("{" + u8("c", 0, 1) + "}", "4"));
    return refusal(put("x.safetensors.index.json", text), folder_ / named);
  }
  std::string map_refusal(const std::string& entries, const std::string& named = "x.safetensors.index.json") {
    return index_refusal(R"({"metadata":{"total_size":4},"weight_map":{)" + entries + "}}", named);
  }

  const test::TemporaryFolder folder_;
};

TEST_F(WeightsTest, TheLengthFieldIsComparedWithTheFile) {
  EXPECT_THAT(refusal_of(""), HasSubstr("it holds 0 bytes, and its length field needs 8"));
  EXPECT_THAT(refusal_of("1234567"), HasSubstr("it holds 7 bytes, and its length field needs 8"));
  EXPECT_THAT(refusal_of(file_of(1000, "{}", "")), AllOf(HasSubstr("has 1000 bytes"), HasSubstr("2 after the field")));
  EXPECT_THAT(refusal_of(file_of(UINT64_MAX, "{}", "")), HasSubstr("18446744073709551615 bytes"));
  EXPECT_THAT(refusal_of(file_of(0, "", "")), HasSubstr("does not begin with '{'"));
}

TEST_F(WeightsTest, AHeaderOverTheFormatsLimitIsNotRead) {
  const fs::path path = put("x.safetensors", file_of(100'000'001, "{", ""));
  fs::resize_file(path, 8 + 100'000'001);  // a hole: as large as it says, without the disk space
  EXPECT_THAT(refusal(path), AllOf(HasSubstr("has 100000001 bytes"), HasSubstr("at most 100000000")));
}

TEST_F(WeightsTest, OffsetsMustTileTheData) {
  EXPECT_EQ(header_refusal("{" + u8("b", 2, 4) + "," + u8("a", 0, 2) + "}", "1234"), "accepted");
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 3) + "," + u8("b", 2, 4) + "}", "1234"),
              HasSubstr("\"b\" begins at byte 2 of the data, but the tensors before it end at 3"));
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 1) + "," + u8("b", 2, 4) + "}", "1234"),
              HasSubstr("\"b\" begins at byte 2 of the data, but the tensors before it end at 1"));
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 4) + "}", "123"),
              HasSubstr("need 4 bytes of data, but the file holds 3"));
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 4) + "}", "12345"),
              HasSubstr("need 4 bytes of data, but the file holds 5"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[3,2]}})", "123"),
              HasSubstr("run backwards, from 3 to 2"));
}

TEST_F(WeightsTest, RepeatedKeysAreRefused) {
  EXPECT_THAT(header_refusal("{" + u8("a", 0, 1) + "," + u8("a", 0, 1) + "}", "1"),
              AllOf(HasSubstr("\"a\""), HasSubstr("twice")));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "1"),
              HasSubstr("\"dtype\" is there twice"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"k":"1","k":"2"}})"), HasSubstr("\"k\" is there twice"));
}

TEST_F(WeightsTest, TextMustBeUtf8AndJson) {
  EXPECT_THAT(header_refusal("{\"\xFF\":1}"), HasSubstr("not JSON, at byte"));
  EXPECT_THAT(header_refusal("{\"\xC3(\":1}"), HasSubstr("not JSON, at byte"));
  EXPECT_THAT(header_refusal(std::string("{}\0{}", 5)), HasSubstr("at byte 2: it holds a NUL"));
}

TEST_F(WeightsTest, ShapeAndTypeMustGiveTheLength) {
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),
              HasSubstr("shape [2] of F32 needs 8 bytes, but data_offsets span 4"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", "1"),
              HasSubstr("shape holds the number -1"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
              HasSubstr("needs more than 2^63 bytes, but data_offsets span 0"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F64","shape":[9223372036854775807],"data_offsets":[0,8]}})", "12345678"),
              HasSubstr("needs more than 2^63 bytes, but data_offsets span 8"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0]}})"),
              HasSubstr("shape holds 9223372036854775808, which is more than 2^63 - 1"));
}

TEST_F(WeightsTest, MessagesStayShortAndUtf8) {
  std::string umlauts;
  for (int i = 0; i < 1000; ++i) {
    umlauts += "\xC3\xA4";
  }
  std::string extents = "1";
  for (int i = 0; i < 10'000; ++i) {
    extents += ",1";
  }
  const std::string refused[] = {
      header_refusal("{" + u8("x" + umlauts, 0, 1) + "}"), header_refusal("{" + u8(umlauts, 0, 1) + "}"),
      header_refusal(R"({"a":{"dtype":"U8","shape":[)" + extents + R"(],"data_offsets":[0,2]}})", "12"),
      map_refusal(R"("a":")" + umlauts + "/\""), map_refusal(R"("a":")" + umlauts + '"')};
  for (const std::string& message : refused) {
    EXPECT_LT(message.size(), 2500) << message;
  }
}

TEST_F(WeightsTest, AFileThatShrinksIsAnErrorAndNoSignal) {
  const fs::path path = put("x.safetensors", file_of("{" + u8("a", 0, 100'000) + "}", std::string(100'000, 'x')));
  const Weights weights = Weights::open(path);
  const std::uintmax_t shrunk = fs::file_size(path) - 50'000;
  fs::resize_file(path, shrunk);
  std::vector<std::byte> bytes(100'000);
  weights.read(0, 0, std::span(bytes).first(50'000));
  try {
    weights.read(0, 0, bytes);
    FAIL() << "bytes were read that are not there";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string() + ": ends at byte " + std::to_string(shrunk)),
                                    HasSubstr("50000 more were expected"), HasSubstr("became shorter")));
  }
}

TEST_F(WeightsTest, PlacesAndKindsThatAreNoWeights) {
  EXPECT_THAT(refusal(folder_ / "missing.safetensors"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder_ / "missing.h5"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder_ / "missing.safetensors.index.json"), HasSubstr("No such file"));
  fs::create_directory(folder_ / "folder.safetensors");
  EXPECT_NE(refusal(folder_ / "folder.safetensors"), "accepted");
  for (const char* name : {"x.bin", "x.pt", "x.ckpt", "x", "x.safetensors.bak", "x.index.json"}) {
    EXPECT_THAT(refusal(put(name, "{}")), HasSubstr("no kind of weights file that soup knows")) << name;
  }
}

TEST_F(WeightsTest, AnIndexJoinsItsFiles) {
  ASSERT_EQ(map_refusal(R"("a":"a.safetensors","b":"a.safetensors","c":"b.safetensors")"), "accepted");
  const Weights weights = Weights::open(folder_ / "x.safetensors.index.json");
  EXPECT_THAT(weights.files(), ElementsAre(folder_ / "a.safetensors", folder_ / "b.safetensors"));
  ASSERT_EQ(weights.tensors().size(), 3);
  std::string bytes(2, ' ');
  weights.read(*weights.find("b"), 0, std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(bytes, "23");
  bytes.resize(1);
  weights.read(*weights.find("c"), 0, std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(bytes, "4");
}

TEST_F(WeightsTest, AnIndexNamesOnlyFilesBesideIt) {
  const std::string outside = "which is no plain file name in its folder";
  for (const std::string name : {"../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", ".hidden",
                                 "a.safetensors\\u0000", "./a.safetensors"}) {
    EXPECT_THAT(map_refusal(R"("a":")" + name + '"'), HasSubstr(outside)) << name;
  }
}

TEST_F(WeightsTest, AnIndexAndItsFilesMustAgree) {
  EXPECT_THAT(
      map_refusal(R"("a":"a.safetensors","b":"a.safetensors","c":"missing.safetensors")", "missing.safetensors"),
      HasSubstr("does not exist, but x.safetensors.index.json names it"));
  EXPECT_THAT(map_refusal(R"("a":"a.safetensors")"),
              HasSubstr("tensor b is in a.safetensors, but the index says nothing"));
  EXPECT_THAT(map_refusal(R"("a":"a.safetensors","b":"b.safetensors","c":"b.safetensors")"),
              HasSubstr("tensor b is in a.safetensors, but the index says b.safetensors"));
  EXPECT_THAT(map_refusal(R"("a":"a.safetensors","b":"a.safetensors","d":"a.safetensors")"),
              HasSubstr("the index names tensor d in a.safetensors, but it is not there"));
  put("c.safetensors", file_of("{" + u8("a", 0, 1) + "}", "5"));
  EXPECT_THAT(map_refusal(R"("a":"a.safetensors","b":"a.safetensors","c":"c.safetensors")", "c.safetensors"),
              HasSubstr("tensor a is also in " + (folder_ / "a.safetensors").string()));
}

TEST_F(WeightsTest, AnIndexMustBeAnIndex) {
  EXPECT_THAT(index_refusal(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(index_refusal("[]"), HasSubstr("has no \"weight_map\""));
  EXPECT_THAT(index_refusal("{}"), HasSubstr("has no \"weight_map\""));
  EXPECT_THAT(index_refusal(R"({"weight_map":{}})"), HasSubstr("has no \"weight_map\""));
  EXPECT_THAT(index_refusal(R"({"weight_map":["a"]})"), HasSubstr("has no \"weight_map\""));
  EXPECT_THAT(map_refusal(R"("a":1)"), HasSubstr("weight_map gives tensor a no file name"));
  EXPECT_THAT(map_refusal(R"("a":"a.safetensors","a":"b.safetensors")"), HasSubstr("\"a\" appears twice"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"a.safetensors"},"weight_map":{}})"),
              HasSubstr("\"weight_map\" appears twice"));
}

}  // namespace
}  // namespace soup
