// A soup's folder being written: averaged parts from sums, all else copied, ledger last, then renamed as a whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/tensor_layout.hpp"
#include "merge/ledger.hpp"
#include "merge/model_folder.hpp"
#include "merge/soup.hpp"
#include "merge/soup_writer.hpp"

namespace soup {

// How a soup is stored.
struct SoupForm {
  SoupScale scale;
  AccumulatorKind accumulator = AccumulatorKind::wide;
  // Largest bytes of tensors per file; absent: in files like the first ingredient's.
  std::optional<std::uint64_t> shard_bytes;
};

// What is done with a soup's folder that is complete but for its ledger, before it gets its name; may add files to the
// folder, and to the ledger's history.
using FinishFolder = std::function<void(Ledger& ledger, const std::filesystem::path& folder)>;

class SoupFolderWriter {
 public:
  // `like`: an ingredient's model; it gives the form of the averaged parts, and everything that is not averaged.
  // `ingredients`: how many there will be, for the room that metadata needs.
  SoupFolderWriter(const std::filesystem::path& folder, const ModelFolder& like,
                   const std::vector<std::string>& averaged_parts, const SoupForm& form, std::size_t ingredients);

  struct Part {
    Part(std::string its_name, Weights its_like, const std::filesystem::path& folder, const FileLayout& layout,
         const SoupForm& form, std::size_t metadata_bytes);

    std::string name;
    std::vector<std::filesystem::path> files;  // relative to the folder
    Weights like;
    SoupWriter writer;  // refers to `like`
    // weights_digest of what was written, where the writer knows it; commit() reads the files for the others.
    std::optional<Digest> digest;
    std::optional<Digest> accumulator_digest;
  };
  [[nodiscard]] const std::vector<std::unique_ptr<Part>>& parts() const { return parts_; }

  // Takes the buckets of make_soup, `layout` being that of the part's tensors in any order. InvariantError for a tensor
  // that the part does not have.
  [[nodiscard]] BucketSink sink(const TensorLayout& layout, const std::string& part);

  // Writes metadata and ledger, and puts the folder in place; `sync`: only when all is on the disk. `ledger` brings
  // ingredients, base and history; what follows from the weights and the form is filled in. Returns the ledger as
  // written.
  Ledger commit(Ledger ledger, Sync sync = Sync::yes, const FinishFolder& finish_folder = {});
  // Where files can be written before commit.
  [[nodiscard]] const std::filesystem::path& partial() const { return folder_.partial(); }

 private:
  AtomicFolder folder_;
  SoupForm form_;
  std::vector<std::unique_ptr<Part>> parts_;
};

// Provenance for a safetensors header: soup digest, ingredients with weights and digests, base, scale. The digests in
// it are those of `ledger`.
std::map<std::string, std::string> provenance(const Ledger& ledger);
// Room that provenance of so many ingredients needs.
std::size_t provenance_bytes(std::size_t ingredients);

}  // namespace soup
