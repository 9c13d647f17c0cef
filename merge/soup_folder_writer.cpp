// A soup's model folder being written: averaged parts from sums, all else copied, ledger last, then renamed as a whole.
#include "merge/soup_folder_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace fs = std::filesystem;

std::map<std::string, std::string> provenance(const Ledger& ledger) {
  nlohmann::json ingredients = nlohmann::json::array();
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    std::map<std::string, Digest> parts;
    for (const auto& [name, part] : ingredient.parts) {
      parts.emplace(name, part.digest);
    }
    ingredients.push_back({{"name", ingredient.name},
                           {"weight", ingredient.weight},
                           {"digest", model_digest(parts).hex()},
                           {"data", ingredient.data_root_digest ? ingredient.data_root_digest->hex() : ""}});
  }
  return {{"format", "pt"},
          {"soup.digest", ledger.soup_digest().hex()},
          {"soup.base", ledger.base_digest ? ledger.base_digest->hex() : ""},
          {"soup.scale_bits", std::to_string(ledger.scale_bits)},
          {"soup.total_weight", std::to_string(ledger.total_weight)},
          {"soup.ingredients", ingredients.dump()}};
}

std::size_t provenance_bytes(std::size_t ingredients) {
  // Two digests, a weight of up to 16 digits, keys and quotes (escaped: the list is a text) are below 256 bytes; a name
  // may be a file name's 255 bytes, escaped twice at most sixfold.
  return 1024 + ingredients * (256 + 6 * 255);
}

namespace {

void make_folder_of(const fs::path& file) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) {
    throw DataError(file, "cannot make its folder: " + error.message());
  }
}

}  // namespace

SoupFolderWriter::File::File(std::string of_part, fs::path relative, const fs::path& like_folder,
                             const fs::path& folder, const SoupScale& scale, std::size_t metadata_bytes)
    : part(std::move(of_part)),
      path(std::move(relative)),
      like(like_folder / path),
      writer(folder / path, folder / accumulator_folder / path, like, scale, metadata_bytes) {}

SoupFolderWriter::SoupFolderWriter(const fs::path& folder, const ModelFolder& like,
                                   const std::vector<std::string>& averaged_parts, const SoupScale& scale,
                                   std::size_t ingredients)
    : folder_(folder), scale_(scale), averaged_parts_(averaged_parts) {
  copy_files(like.path, folder_.partial(), like.others);
  for (const ModelPart& part : like.parts) {
    if (std::ranges::find(averaged_parts, part.name) == averaged_parts.end()) {
      copy_files(like.path, folder_.partial(), part.files);
      continue;
    }
    for (const fs::path& file : part.files) {
      make_folder_of(folder_.partial() / file);
      make_folder_of(folder_.partial() / accumulator_folder / file);
      files_.push_back(
          std::make_unique<File>(part.name, file, like.path, folder_.partial(), scale, provenance_bytes(ingredients)));
    }
  }
}

BucketSink SoupFolderWriter::sink(const TensorLayout& layout,
                                  const std::map<std::string, std::string>& part_of_prefix) {
  struct Place {
    SoupFileWriter* writer = nullptr;
    std::size_t tensor = 0;
    const TensorSlot* slot = nullptr;
  };
  std::vector<Place> places;
  for (const TensorSlot& slot : layout.slots()) {
    Place place;
    for (const auto& [prefix, part] : part_of_prefix) {
      for (const std::unique_ptr<File>& file : files_) {
        const TensorInfo* tensor = file->part == part && slot.name.starts_with(prefix)
                                       ? file->like.find(slot.name.substr(prefix.size()))
                                       : nullptr;
        if (tensor != nullptr && tensor->shape == slot.shape) {
          place = {&file->writer, static_cast<std::size_t>(tensor - file->like.tensors().data()), &slot};
        }
      }
    }
    SOUP_REQUIRE(place.writer != nullptr, "no averaged part of the folder holds tensor " + slot.name);
    places.push_back(place);
  }
  return [places](std::uint64_t offset, std::span<const std::int64_t> sums, std::span<const float>) {
    for (const Place& place : places) {
      const std::uint64_t begin = std::max(place.slot->offset, offset);
      const std::uint64_t end = std::min(place.slot->offset + place.slot->count, offset + sums.size());
      if (begin < end) {
        place.writer->put(place.tensor, begin - place.slot->offset, sums.subspan(begin - offset, end - begin));
      }
    }
  };
}

Ledger SoupFolderWriter::commit(Ledger ledger) {
  ledger.program = program_version();
  ledger.scale_bits = scale_.scale_bits;
  ledger.total_weight = scale_.total_weight;
  ledger.dtype = scale_.keep_dtype ? "input" : "F32";
  std::ranges::sort(ledger.ingredients, {}, &LedgerIngredient::name);
  ledger.parts.clear();
  for (const std::string& part : averaged_parts_) {
    std::vector<SafetensorsFile> written;
    for (const std::unique_ptr<File>& file : files_) {
      if (file->part == part) {
        written.emplace_back(folder_.partial() / file->path);
      }
    }
    ledger.parts.emplace(part, weights_digest(written));
  }
  for (const std::unique_ptr<File>& file : files_) {
    file->writer.set_metadata(provenance(ledger));
  }
  write_ledger(folder_.partial(), ledger);
  folder_.commit();
  return ledger;
}

}  // namespace soup
