#include "core/safetensors_header.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are copied as the file holds them: little endian");

constexpr std::uint64_t length_bytes = 8;  // the header's length, before the header

struct DTypeEntry {
  DType dtype;
  std::string_view name;
  std::size_t bytes;
};

constexpr std::array<DTypeEntry, 13> all_dtypes = {{{DType::f64, "F64", 8},
                                                    {DType::f32, "F32", 4},
                                                    {DType::f16, "F16", 2},
                                                    {DType::bf16, "BF16", 2},
                                                    {DType::i64, "I64", 8},
                                                    {DType::i32, "I32", 4},
                                                    {DType::i16, "I16", 2},
                                                    {DType::i8, "I8", 1},
                                                    {DType::u64, "U64", 8},
                                                    {DType::u32, "U32", 4},
                                                    {DType::u16, "U16", 2},
                                                    {DType::u8, "U8", 1},
                                                    {DType::boolean, "BOOL", 1}}};

const DTypeEntry& entry_of(DType dtype) {
  const auto found = std::ranges::find(all_dtypes, dtype, &DTypeEntry::dtype);
  SOUP_REQUIRE(found != all_dtypes.end(), "a data type outside the enumeration");
  return *found;
}

// Receives the parser's events and accepts only the one structure that the format allows. Events instead of a JSON
// document, because a document would hide repeated keys and take memory many times the header's size.
class HeaderReader final : public json::json_sax_t {
 public:
  explicit HeaderReader(const std::filesystem::path& path) : path_(path) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(std::size_t /*elements*/) override {
    switch (place_) {
      case Place::file:
        place_ = Place::names;
        return true;
      case Place::tensor_or_metadata:
        if (name_ == metadata_name) {
          place_ = Place::metadata;
        } else {
          place_ = Place::tensor;
          dtype_.reset();
          shape_.reset();
          offsets_.reset();
        }
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool key(string_t& text) override {
    switch (place_) {
      case Place::names:
        name_ = text;
        if (!names_.insert(name_).second) {
          refuse("the header names it twice");
        }
        place_ = Place::tensor_or_metadata;
        return true;
      case Place::metadata:
        field_ = text;
        if (header_.metadata.contains(field_)) {
          refuse(fmt::format("the key \"{}\" is there twice", excerpt(field_)));
        }
        return true;
      default:
        field_ = text;
        if (field_ != "dtype" && field_ != "shape" && field_ != "data_offsets") {
          refuse(fmt::format("unknown field \"{}\"; the format has dtype, shape and data_offsets", excerpt(field_)));
        }
        if ((field_ == "dtype" && dtype_) || (field_ == "shape" && shape_) || (field_ == "data_offsets" && offsets_)) {
          refuse(fmt::format("the field \"{}\" is there twice", field_));
        }
        return true;
    }
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      add_tensor();
    }
    place_ = place_ == Place::names ? Place::done : Place::names;
    return true;
  }

  bool start_array(std::size_t /*elements*/) override {
    if (place_ != Place::tensor || field_ == "dtype") {
      return unexpected("an array");
    }
    place_ = Place::array;
    array_.clear();
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    (field_ == "shape" ? shape_ : offsets_) = array_;
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::metadata) {
      header_.metadata.emplace(field_, text);
      return true;
    }
    if (place_ != Place::tensor || field_ != "dtype") {
      return unexpected("a string");
    }
    const auto found = std::ranges::find(all_dtypes, text, &DTypeEntry::name);
    if (found == all_dtypes.end()) {
      refuse(fmt::format("unknown dtype \"{}\"; known are F64, F32, F16, BF16, I64, I32, I16, I8, U8 and BOOL",
                         excerpt(text)));
    }
    dtype_ = found->dtype;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::array) {
      return unexpected("a number");
    }
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      refuse(fmt::format("{} holds {}, which is more than 2^63 - 1", field_, value));
    }
    array_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool number_integer(number_integer_t value) override { return unexpected(fmt::format("the number {}", value)); }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return unexpected("the number " + excerpt(text));
  }
  bool null() override { return unexpected("null"); }
  bool boolean(bool value) override { return unexpected(value ? "true" : "false"); }
  bool binary(binary_t& /*value*/) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string& /*last_token*/, const json::exception& error) override {
    throw DataError(path_,
                    fmt::format("the safetensors header is not JSON, at byte {}: {}", position, excerpt(error.what())));
  }

 private:
  enum class Place { file, names, tensor_or_metadata, tensor, metadata, array, done };
  static constexpr std::string_view metadata_name = "__metadata__";

  [[noreturn]] void refuse(std::string_view message) const {
    const bool metadata = place_ == Place::metadata;
    throw DataError(path_, metadata ? fmt::format("__metadata__: {}", message)
                                    : fmt::format("tensor \"{}\": {}", excerpt(name_), message));
  }

  [[noreturn]] bool unexpected(std::string_view what) const {
    switch (place_) {
      case Place::file:
      case Place::done:
        throw DataError(path_, fmt::format("the safetensors header is {} instead of an object", what));
      case Place::metadata:
        refuse(fmt::format("\"{}\" is {} instead of a string", excerpt(field_), what));
      case Place::tensor_or_metadata:
        refuse(fmt::format("it is {} instead of an object", what));
      default:
        refuse(fmt::format("{} holds {}, which is not allowed there", field_, what));
    }
  }

  void add_tensor() {
    if (!dtype_ || !shape_ || !offsets_) {
      refuse(fmt::format("the field {} is missing", !dtype_ ? "dtype" : !shape_ ? "shape" : "data_offsets"));
    }
    if (offsets_->size() != 2) {
      refuse(fmt::format("data_offsets holds {} numbers instead of 2", offsets_->size()));
    }
    TensorInfo tensor{name_, *dtype_, std::move(*shape_), static_cast<std::uint64_t>((*offsets_)[0]),
                      static_cast<std::uint64_t>((*offsets_)[1])};
    if (tensor.begin > tensor.end) {
      refuse(fmt::format("data_offsets run backwards, from {} to {}", tensor.begin, tensor.end));
    }
    const ByteCount expected = byte_count(tensor.shape, tensor.dtype);
    if (!expected.valid || expected.bytes != tensor.end - tensor.begin) {
      refuse(fmt::format("shape [{}] of {} needs {} bytes, but data_offsets span {}",
                         excerpt(fmt::format("{}", fmt::join(tensor.shape, ", "))), name_of(tensor.dtype),
                         expected.valid ? std::to_string(expected.bytes) : std::string("more than 2^63"),
                         tensor.end - tensor.begin));
    }
    header_.tensors.push_back(std::move(tensor));
  }

  const std::filesystem::path& path_;
  SafetensorsHeader header_;
  Place place_ = Place::file;
  std::set<std::string> names_;
  std::string name_;
  std::string field_;
  std::optional<DType> dtype_;
  std::optional<std::vector<std::int64_t>> shape_;
  std::optional<std::vector<std::int64_t>> offsets_;
  std::vector<std::int64_t> array_;
};

// Tensors must fill the data section without holes or overlaps: else a file could hide bytes, or one byte be two
// things.
void check_coverage(std::span<const TensorInfo> tensors, std::uint64_t data_bytes, const std::filesystem::path& path) {
  std::uint64_t covered = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin != covered) {
      throw DataError(path,
                      fmt::format("tensor \"{}\" begins at byte {} of the data, but the tensors before it end at {}",
                                  excerpt(tensor.name), tensor.begin, covered));
    }
    covered = tensor.end;
  }
  if (covered != data_bytes) {
    throw DataError(path, fmt::format("the tensors need {} bytes of data, but the file holds {}", covered, data_bytes),
                    covered > data_bytes ? "the file was cut short; copy or download it again" : "");
  }
}

}  // namespace

std::size_t size_of(DType dtype) {
  return entry_of(dtype).bytes;
}

std::string_view name_of(DType dtype) {
  return entry_of(dtype).name;
}

ByteCount byte_count(std::span<const std::int64_t> shape, DType dtype) {
  std::int64_t bytes = static_cast<std::int64_t>(size_of(dtype));
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      return {};
    }
  }
  return {static_cast<std::uint64_t>(bytes), true};
}

SafetensorsHeader parse_safetensors_header(std::string_view json_text, std::uint64_t data_bytes,
                                           const std::filesystem::path& path) {
  if (!json_text.starts_with('{')) {
    throw DataError(path, "not a safetensors file: its header does not begin with '{'");
  }
  // The JSON parser takes a NUL for the end of its input, and would let anything follow it.
  if (const std::size_t nul = json_text.find('\0'); nul != std::string_view::npos) {
    throw DataError(path, fmt::format("the safetensors header is not JSON, at byte {}: it holds a NUL", nul));
  }
  HeaderReader reader(path);
  json::sax_parse(json_text, &reader);
  SafetensorsHeader header = reader.take();
  std::ranges::sort(header.tensors, {},
                    [](const TensorInfo& tensor) { return std::tie(tensor.begin, tensor.end, tensor.name); });
  check_coverage(header.tensors, data_bytes, path);
  return header;
}

SafetensorsFileHeader read_safetensors_header(const FileDescriptor& file, const std::filesystem::path& path) {
  const std::uint64_t size = file.size(path);
  if (size < length_bytes) {
    throw DataError(path, fmt::format("not a safetensors file: it holds {} bytes, and its length field needs {}", size,
                                      length_bytes));
  }
  std::uint64_t header_bytes = 0;
  file.read_at(0, std::as_writable_bytes(std::span(&header_bytes, 1)), path);
  const std::uint64_t rest = size - length_bytes;
  if (header_bytes > max_safetensors_header_bytes || header_bytes > rest) {
    throw DataError(path,
                    fmt::format("its length field says the header has {} bytes; the file has {} after the field, and "
                                "a header at most {}",
                                header_bytes, rest, max_safetensors_header_bytes),
                    "it is cut short, or not a safetensors file");
  }
  std::string text(header_bytes, '\0');
  file.read_at(length_bytes, std::as_writable_bytes(std::span(text)), path);
  return {parse_safetensors_header(text, rest - header_bytes, path), length_bytes + header_bytes, size};
}

std::string format_safetensors_header(std::span<const TensorInfo> tensors,
                                      const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":" + json(metadata).dump();
  }
  for (const TensorInfo& tensor : tensors) {
    text += fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", text.size() > 1 ? "," : "",
                        json(tensor.name).dump(), name_of(tensor.dtype), fmt::join(tensor.shape, ","), tensor.begin,
                        tensor.end);
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace soup
