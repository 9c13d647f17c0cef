// WebDataset tars as img2dataset writes them: members key.jpg, key.txt and key.json, those of one key side by side.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/captioned_source.hpp"

namespace soup {

struct WebDatasetSource {
  std::filesystem::path folder = {};    // that relative paths start from; empty: the current one
  std::vector<std::string> tars = {};   // paths; with {00000..00009}, {a,b}, *, ? and [..] in them
  std::string caption_key = "caption";  // of key.json, where there is no key.txt
  std::string held_out_key = {};        // of key.json; empty: held out by caption
};

// The files that the tars' patterns name: braces in their order, wildcards sorted. Throws DataError: a pattern that
// matches nothing, a file named twice; ConfigError: a brace range that is none, more than a million names.
std::vector<std::filesystem::path> expand_tar_patterns(const WebDatasetSource& source);

// The samples of the tars, in their order. A sample is the members in a row that share a key: the path up to the first
// dot of its last part. Of them the picture (.jpg, .jpeg, .png, .webp, .svg), the caption (.txt) and the .json are
// read; others are passed over. A sample is an item with a problem when it has no picture or two, a member twice, a
// path that leads out of the archive, a picture of no bytes, a link for a picture, a .json that is none, or a key that
// came before in its tar. A tar that cannot be read to its end gives an item with a problem for the rest of it.
//
// Keeps 16 bytes for each key of the tar that is being read, doubled by the hash table.
std::unique_ptr<CaptionedSource> open_webdataset(const WebDatasetSource& source);

}  // namespace soup
