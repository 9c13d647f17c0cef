// A folder of pictures, with captions in metadata.jsonl or metadata.csv (Hugging Face's imagefolder) or beside them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/captioned_source.hpp"

namespace soup {

struct ImageFolderSource {
  std::filesystem::path path = {};
  std::string caption_key = "text";  // of metadata rows
  std::string held_out_key = {};     // of metadata rows; empty: held out by caption
};

// Pictures below the folder, those in folders in it included, in byte order of their paths: files that end in an
// extension of pictures, whatever the case. Names that begin with a dot are passed over. Links are followed to files
// inside the folder, and no others; folders behind links are not entered.
//
// metadata.jsonl or metadata.csv in any of the folders gives captions for pictures by paths relative to itself
// (file_name); a picture without a row has its caption in a file of its name that ends in .txt or .caption instead of
// (or behind) the picture's extension. Rows whose path leaves the folder, names no picture, or was named before (with
// both lines) are items with a problem, before all others.
//
// Keeps 21 bytes and the path's length for each picture. Throws DataError: no folder, not listable, both kinds of
// metadata in one folder, metadata whose rows cannot be told apart.
std::unique_ptr<CaptionedSource> open_image_folder(const ImageFolderSource& source);

}  // namespace soup
