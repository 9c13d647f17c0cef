#include "data/csv_reader.hpp"

#include <string_view>
#include <utility>

#include "core/error.hpp"

namespace soup {
namespace {

constexpr std::uint64_t longest_record = 1U << 20;
constexpr int end_of_file = std::istream::traits_type::eof();

}  // namespace

CsvReader::CsvReader(std::istream& in, std::filesystem::path path, std::uint64_t offset, std::uint64_t line)
    : in_(in), path_(std::move(path)), offset_(offset), line_(line) {
  if (offset == 0) {
    constexpr std::string_view mark = "\xef\xbb\xbf";
    for (std::size_t i = 0; i < mark.size() && in_.peek() == static_cast<unsigned char>(mark[i]); ++i) {
      get();
    }
  }
}

void CsvReader::fail(std::uint64_t line, const std::string& message) const {
  throw DataError(path_, "line " + std::to_string(line) + ": " + message,
                  "fields with commas, quotes or line ends are quoted as RFC 4180 says");
}

int CsvReader::get() {
  const int c = in_.get();
  if (c != end_of_file) {
    ++offset_;
    line_ += c == '\n' ? 1 : 0;
    if (offset_ - begin_ > longest_record) {
      fail(line_, "a record of more than 1 MiB (a quote left open?)");
    }
  }
  return c;
}

// The rest of a quoted field, its opening quote read.
std::string CsvReader::quoted() {
  const std::uint64_t opened = line_;
  std::string field;
  while (true) {
    const int c = get();
    if (c == end_of_file) {
      fail(opened, "a quote is left open");
    }
    if (c != '"') {
      field += static_cast<char>(c);
    } else if (in_.peek() == '"') {
      get();
      field += '"';
    } else {
      return field;
    }
  }
}

bool CsvReader::read(CsvRecord& record) {
  while (in_.peek() == '\n' || in_.peek() == '\r') {
    begin_ = offset_;
    get();
  }
  begin_ = offset_;
  if (in_.peek() == end_of_file) {
    return false;
  }
  record.offset = offset_;
  record.line = line_;
  record.fields.clear();
  std::string field;
  bool was_quoted = false;
  while (true) {
    const int c = get();
    if (c == '\r' && in_.peek() == '\n') {
      continue;
    }
    if (c == ',' || c == '\n' || c == end_of_file) {
      record.fields.push_back(std::exchange(field, {}));
      was_quoted = false;
      if (c != ',') {
        return true;
      }
    } else if (was_quoted) {
      fail(line_, "there is text behind a closing quote");
    } else if (c == '"') {
      if (!field.empty()) {
        fail(line_, "there is a quote inside a field that is not quoted");
      }
      field = quoted();
      was_quoted = true;
    } else {
      field += static_cast<char>(c);
    }
  }
}

}  // namespace soup
