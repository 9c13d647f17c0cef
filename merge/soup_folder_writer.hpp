// A soup's model folder being written: averaged parts from sums, all else copied, ledger last, then renamed as a whole.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/tensor_layout.hpp"
#include "merge/ledger.hpp"
#include "merge/model_folder.hpp"
#include "merge/soup.hpp"
#include "merge/soup_file_writer.hpp"

namespace soup {

// The folder inside a soup that keeps its int64 sums, one file per weights file, for add and remove.
inline constexpr const char* accumulator_folder = "accumulator";

class SoupFolderWriter {
 public:
  // `like`: an ingredient's folder; it gives the form of the averaged parts, and everything that is not averaged.
  // `ingredients`: how many there will be, for the room that metadata needs.
  SoupFolderWriter(const std::filesystem::path& folder, const ModelFolder& like,
                   const std::vector<std::string>& averaged_parts, const SoupScale& scale, std::size_t ingredients);

  struct File {
    File(std::string of_part, std::filesystem::path relative, const std::filesystem::path& like_folder,
         const std::filesystem::path& folder, const SoupScale& scale, std::size_t metadata_bytes);

    std::string part;
    std::filesystem::path path;  // relative to the folder
    SafetensorsFile like;
    SoupFileWriter writer;  // refers to `like`
  };
  [[nodiscard]] const std::vector<std::unique_ptr<File>>& files() const { return files_; }

  // Takes a bucket of a flat buffer whose tensors are named "<prefix><tensor>", prefixes of parts being given as
  // {"unet.", "unet_ema"}. For make_soup's sink; InvariantError for a tensor that no part has.
  [[nodiscard]] BucketSink sink(const TensorLayout& layout, const std::map<std::string, std::string>& part_of_prefix);

  // Computes the parts' digests, writes metadata and ledger, and puts the folder in place. `ledger` brings ingredients,
  // base and history; what follows from the weights and the scale is filled in. Returns the ledger as written.
  Ledger commit(Ledger ledger);
  // Where files can be written before commit.
  [[nodiscard]] const std::filesystem::path& partial() const { return folder_.partial(); }

 private:
  AtomicFolder folder_;
  SoupScale scale_;
  std::vector<std::string> averaged_parts_;
  std::vector<std::unique_ptr<File>> files_;
};

// Provenance for a safetensors header: soup digest, ingredients with weights and digests, base, scale. The digests in
// it are those of `ledger`.
std::map<std::string, std::string> provenance(const Ledger& ledger);
// Room that provenance of so many ingredients needs.
std::size_t provenance_bytes(std::size_t ingredients);

}  // namespace soup
