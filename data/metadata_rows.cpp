#include "data/metadata_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/csv_reader.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_line = 1U << 20;  // bytes

// The text of a field of a JSON object; says in `problem` when it is something else.
std::optional<std::string> text_of(const nlohmann::json& object, const std::string& field, std::string& problem) {
  const auto found = object.find(field);
  if (field.empty() || found == object.end() || found->is_null()) {
    return std::nullopt;
  }
  if (found->is_string()) {
    return found->get<std::string>();
  }
  if (found->is_number()) {
    return found->dump();
  }
  problem = fmt::format("its \"{}\" is neither text nor number", excerpt(field));
  return std::nullopt;
}

}  // namespace

struct MetadataFile::Impl {
  fs::path path;
  std::string caption_key;
  std::string held_out_key;
  bool is_csv = false;
  std::size_t columns = 0;
  std::size_t file_column = 0;
  std::optional<std::size_t> caption_column, key_column;
  mutable std::ifstream again;  // for row_at()

  [[nodiscard]] std::ifstream open() const {
    std::ifstream in(path, std::ios::binary);
    std::error_code error;
    if (!in || !fs::is_regular_file(path, error)) {
      throw DataError(path, "cannot be read");
    }
    return in;
  }

  void read_header() {
    std::ifstream in = open();
    CsvReader reader(in, path);
    CsvRecord header;
    if (!reader.read(header)) {
      throw DataError(path, "is empty; its first line names the columns");
    }
    columns = header.fields.size();
    const auto column = [&](const std::string& name) -> std::optional<std::size_t> {
      const auto found = std::ranges::find(header.fields, name);
      if (found == header.fields.end()) {
        return std::nullopt;
      }
      if (std::find(found + 1, header.fields.end(), name) != header.fields.end()) {
        throw DataError(path, fmt::format("has two columns \"{}\"", excerpt(name)));
      }
      return static_cast<std::size_t>(found - header.fields.begin());
    };
    const auto required = [&](const std::string& name, const std::string& hint) {
      const std::optional<std::size_t> found = column(name);
      if (!found) {
        throw DataError(path, fmt::format("has no column \"{}\" in its first line", excerpt(name)), hint);
      }
      return *found;
    };
    file_column = required("file_name", "metadata.csv names each image's file in a column file_name");
    caption_column = column(caption_key);
    if (!held_out_key.empty()) {
      key_column = required(held_out_key, "choose another held_out_key");
    }
  }

  [[nodiscard]] MetadataRow row_of(CsvRecord& record) const {
    MetadataRow row{
        .offset = record.offset, .line = record.line, .file_name = {}, .caption = {}, .key = {}, .problem = {}};
    if (record.fields.size() != columns) {
      row.problem = fmt::format("has {} fields; the first line has {}", record.fields.size(), columns);
      return row;
    }
    const auto field = [&](const std::optional<std::size_t>& column) -> std::optional<std::string> {
      return column && !record.fields[*column].empty() ? std::optional(record.fields[*column]) : std::nullopt;
    };
    row.caption = field(caption_column);
    row.key = field(key_column);
    row.file_name = std::move(record.fields[file_column]);
    if (row.file_name.empty()) {
      row.problem = "names no file";
    }
    return row;
  }

  [[nodiscard]] MetadataRow row_of(std::string_view line, std::uint64_t offset, std::uint64_t number) const {
    MetadataRow row{.offset = offset, .line = number, .file_name = {}, .caption = {}, .key = {}, .problem = {}};
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
      row.problem = "is not a JSON object";
      return row;
    }
    const auto name = object.find("file_name");
    if (name == object.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
      row.problem = "names no file (file_name)";
      return row;
    }
    row.file_name = name->get<std::string>();
    row.caption = text_of(object, caption_key, row.problem);
    row.key = text_of(object, held_out_key, row.problem);
    return row;
  }

  // One line without its end; false at the end of the file.
  bool read_line(std::istream& in, std::string& line, std::uint64_t number) const {
    line.clear();
    std::array<char, 1 << 14> block{};
    while (true) {
      in.getline(block.data(), block.size());
      const auto got = static_cast<std::size_t>(in.gcount());
      const bool more = in.fail() && got == block.size() - 1;
      const bool ended = !in.fail() && !in.eof();
      line.append(block.data(), ended ? got - 1 : got);
      if (!more) {
        return got > 0 || !line.empty();
      }
      in.clear();
      if (line.size() > longest_line) {
        throw DataError(path, fmt::format("line {} is longer than 1 MiB", number));
      }
    }
  }
};

MetadataFile::MetadataFile(fs::path path, std::string caption_key, std::string held_out_key)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->caption_key = std::move(caption_key);
  impl_->held_out_key = std::move(held_out_key);
  impl_->is_csv = impl_->path.extension() == ".csv";
  if (impl_->is_csv) {
    impl_->read_header();
  }
  impl_->again = impl_->open();
}

MetadataFile::~MetadataFile() = default;
MetadataFile::MetadataFile(MetadataFile&&) noexcept = default;
MetadataFile& MetadataFile::operator=(MetadataFile&&) noexcept = default;

const fs::path& MetadataFile::path() const {
  return impl_->path;
}

void MetadataFile::each_row(const std::function<void(const MetadataRow&)>& visit) const {
  std::ifstream in = impl_->open();
  if (impl_->is_csv) {
    CsvReader reader(in, impl_->path);
    CsvRecord record;
    reader.read(record);  // the header
    while (reader.read(record)) {
      visit(impl_->row_of(record));
    }
    return;
  }
  std::string line;
  std::uint64_t offset = 0;
  for (std::uint64_t number = 1; impl_->read_line(in, line, number); ++number) {
    const bool blank = line.find_first_not_of(" \t\r") == std::string::npos;
    if (!blank) {
      visit(impl_->row_of(line, offset, number));
    }
    offset += line.size() + 1;
  }
  if (in.bad()) {
    throw DataError(impl_->path, "cannot be read to its end");
  }
}

MetadataRow MetadataFile::row_at(std::uint64_t offset) const {
  std::ifstream& in = impl_->again;
  in.clear();
  in.seekg(static_cast<std::streamoff>(offset));
  if (impl_->is_csv) {
    CsvReader reader(in, impl_->path, offset);
    CsvRecord record;
    if (reader.read(record)) {
      return impl_->row_of(record);
    }
  } else if (std::string line; impl_->read_line(in, line, 0)) {
    return impl_->row_of(line, offset, 0);
  }
  throw DataError(impl_->path, "became shorter while it was read");
}

std::uint64_t MetadataFile::line_of(std::uint64_t offset) const {
  std::ifstream in = impl_->open();
  std::uint64_t line = 1;
  for (std::uint64_t at = 0; at < offset; ++at) {
    line += in.get() == '\n' ? 1 : 0;
  }
  return line;
}

}  // namespace soup
