// Records of a CSV file as RFC 4180 has them: quoted fields with commas, line ends and doubled quotes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <string>
#include <vector>

namespace soup {

// One record and where it stands.
struct CsvRecord {
  std::uint64_t offset = 0;  // bytes from the start of the file
  std::uint64_t line = 0;    // of its first character, from 1
  std::vector<std::string> fields;
};

// Reads record after record in constant memory. Line ends are LF or CRLF; empty lines are passed over; a byte order
// mark in front of the file is left out.
class CsvReader {
 public:
  // `in` stands at the byte `offset`, in line `line`.
  CsvReader(std::istream& in, std::filesystem::path path, std::uint64_t offset = 0, std::uint64_t line = 1);
  // False at the end. Throws DataError naming the line: a quote inside an unquoted field or left open, text behind a
  // closing quote, a record over 1 MiB.
  bool read(CsvRecord& record);

 private:
  [[noreturn]] void fail(std::uint64_t line, const std::string& message) const;
  int get();
  std::string quoted();

  std::istream& in_;
  std::filesystem::path path_;
  std::uint64_t offset_;
  std::uint64_t line_;
  std::uint64_t begin_ = 0;  // of the record
};

}  // namespace soup
