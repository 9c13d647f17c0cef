// Tensors in an HDF5 file: every dataset of numbers is a tensor, named by its path without the leading slash.
#pragma once

#include <filesystem>

#include "merge/weights.hpp"

namespace soup {

// Floats of 64, 32 and 16 bits (IEEE 754) and integers, in any layout and filter the library can read. Little-endian
// datasets stored in one piece are read like flat files; all others through the HDF5 library, one thread at a time.
// Throws DataError: not HDF5, a dataset of another kind (text, compound), no dataset at all.
OpenedWeights open_hdf5(const std::filesystem::path& path);

}  // namespace soup
