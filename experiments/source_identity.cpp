#include "experiments/source_identity.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "data/shard_file.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

std::string identity_of_file(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) {
    return "missing";
  }
  return sha256_file(file).hex();
}

// The package's changelog lies beside the theme, in an unpacked package as in the system.
std::string identity_of_package(const IconThemeSource& source) {
  const fs::path folder = source.root / ".." / ".." / "doc" / source.package;
  for (const char* name : {"changelog.Debian.gz", "changelog.gz"}) {
    if (const std::string identity = identity_of_file(folder / name); identity != "missing") {
      return identity;
    }
  }
  return "missing";
}

std::string identity_of_shard_file(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) {
    return "missing";
  }
  try {
    return ShardFile(file).root().hex();
  } catch (const DataError&) {
    return "unreadable";
  }
}

// The import itself reports what is wrong with it.
template <typename Open>
std::string identity_of_source(Open open) {
  try {
    return open()->identity().hex();
  } catch (const Error&) {
    return "unreadable";
  }
}

// Digest of the names and contents of `files`, which are relative to `folder`.
std::string identity_of_files(const fs::path& folder, std::vector<fs::path> files) {
  std::ranges::sort(files);
  Sha256 hash;
  for (const fs::path& file : files) {
    hash.update_field(file.generic_string());
    hash.update_field(sha256_file(folder / file).hex());
  }
  return hash.finish().hex();
}

void add_files(const fs::path& folder, const fs::path& below, std::vector<fs::path>& files) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder / below, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_regular_file(error)) {
      files.push_back(entry->path().lexically_relative(folder));
    }
  }
  if (error) {
    throw DataError(folder / below, "cannot be listed: " + error.message());
  }
}

}  // namespace

std::string identity_of(const ShardSpec& shard) {
  if (const auto* theme = std::get_if<IconThemeSource>(&shard.source)) {
    return "index.theme: " + identity_of_file(theme->root / "index.theme") +
           "\npackage: " + identity_of_package(*theme) + "\n";
  }
  if (const auto* idx = std::get_if<IdxSource>(&shard.source)) {
    return "images: " + identity_of_file(idx->images) + "\nlabels: " + identity_of_file(idx->labels) + "\n";
  }
  if (const auto* folder = std::get_if<FolderSource>(&shard.source)) {
    return "files: " + identity_of_source([folder] { return open_image_folder(folder->folder); }) + "\n";
  }
  if (const auto* tars = std::get_if<TarsSource>(&shard.source)) {
    return "files: " + identity_of_source([tars] { return open_webdataset(tars->tars); }) + "\n";
  }
  return "root: " + identity_of_shard_file(std::get<FileSource>(shard.source).path) + "\n";
}

std::string identity_of_model(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / "model_index.json", error)) {
    return "missing";
  }
  std::vector<fs::path> files = {"model_index.json"};
  constexpr std::array<const char*, 8> parts = {"unet",      "unet_ema", "text_encoder", "text_encoder_ema",
                                                "tokenizer", "vae",      "autoencoder",  "scheduler"};
  for (const char* part : parts) {
    if (fs::is_directory(folder / part, error)) {
      add_files(folder, part, files);
    }
  }
  return identity_of_files(folder, std::move(files));
}

std::string identity_of_folder(const fs::path& folder) {
  if (folder.empty()) {
    return "none";
  }
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return "missing";
  }
  std::vector<fs::path> files;
  add_files(folder, ".", files);
  return identity_of_files(folder, std::move(files));
}

}  // namespace soup
