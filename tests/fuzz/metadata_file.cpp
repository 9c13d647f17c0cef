// metadata.csv and metadata.jsonl: the first byte says which; every row must read again by where it begins.
#include "data/metadata_rows.hpp"
#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  const bool is_csv = size > 0 && data[0] % 2 == 0;
  const std::filesystem::path path = folder / (is_csv ? "metadata.csv" : "metadata.jsonl");
  fuzz::write_plainly(path, size == 0 ? std::string_view() : fuzz::text_of(data + 1, size - 1));
  return fuzz::read_input(path.native(), [&] {
    const MetadataFile file(path, "text", "");
    std::uint64_t last_line = 0;
    file.each_row([&](const MetadataRow& row) {
      fuzz::require(row.line > last_line, "rows do not follow each other");
      last_line = row.line;
      const MetadataRow again = file.row_at(row.offset);
      fuzz::require(again.file_name == row.file_name && again.caption == row.caption && again.problem == row.problem,
                    "a row reads differently by its place");
      fuzz::require(file.line_of(row.offset) == row.line, "a row's line is not that of its place");
    });
  });
}
