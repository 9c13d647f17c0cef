// Weights files of one part for tests of methods: tensors of several blocks, any floating type, one file or shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/safetensors.hpp"
#include "merge/merge_files.hpp"

namespace soup::test {

using Values = std::map<std::string, std::vector<double>>;  // of a file's floating tensors

struct PlainForm {
  DType dtype = DType::f32;
  bool sharded = false;       // three files and an index
  std::int64_t steps = 1000;  // content of an integer tensor
  double shared = 0.0;        // of what all models' differences from the base have in common
};

// down_blocks.0.weight [300, 500], mid.weight [50, 100], up.bias [7] and one I64 tensor, all a function of the name;
// "base" is what every other name differs from by a little.
MergeInput write_plain(const std::filesystem::path& root, const std::string& name, const PlainForm& form = {});
// What is stored, exactly.
Values values_of(const std::filesystem::path& path);

}  // namespace soup::test
