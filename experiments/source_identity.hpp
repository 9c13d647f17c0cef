// What tells one state of a source from another, as a few lines of text: enters the key of the stage that reads it.
#pragma once

#include <filesystem>
#include <string>

#include "experiments/experiment.hpp"

namespace soup {

// Icon theme: digests of index.theme and of the package's Debian changelog, so that an upgraded package is imported
// anew. IDX: digests of both files. Folder and WebDataset: digest of
// names, lengths and times of their files. Shard file: its Merkle root. "missing" or "unreadable" where there is none:
// the import itself reports that.
std::string identity_of(const ShardSpec& shard);

// Digest of the files that make a model folder a model: model_index.json and what lies in its parts (unet,
// text_encoder, tokenizer, ...). Reads them all. "missing" when there is no such folder.
std::string identity_of_model(const std::filesystem::path& folder);

// Digest of every file below a folder, by name and content; "none" for an empty path.
std::string identity_of_folder(const std::filesystem::path& folder);

}  // namespace soup
