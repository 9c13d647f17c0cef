// How models differ from a base and from each other, tensor by tensor, streamed in bounded memory: a diagnosis.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.hpp"
#include "merge/block_loop.hpp"
#include "merge/delta_sums.hpp"

namespace soup {

struct DifferenceInput {
  std::string name;            // unique among the models
  std::filesystem::path path;  // anything that open_model opens
};

struct DifferenceOptions {
  std::vector<std::string> parts;  // to compare; empty: all parts of the models
  std::string variant;             // of the weights, as "fp16"
  int threads = usable_threads();  // does not change a bit
  // Called with the bytes read so far and in all.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

// One model's tensor against the base's.
struct TensorChange {
  double largest = 0.0;       // |w - base| of the weight that moved most
  std::uint64_t element = 0;  // which one, counted in row-major order
  double from = 0.0;          // its value in the base
  double to = 0.0;            // and in the model
  bool equal = true;          // the same numbers; of an integer tensor: the same bytes
};

// Weights that are NaN or infinite.
struct NotFinite {
  std::uint64_t count = 0;
  std::uint64_t first = 0;  // element
};

struct TensorDifference {
  std::string name;
  std::string block;  // of the network (merge/block_names.hpp)
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  // Empty sums for integer tensors. A weight that is not finite in the base counts as zero and unmoved; one that is not
  // finite in a model counts as unmoved there.
  DeltaSums sums;
  std::vector<TensorChange> changes;  // of each model
  NotFinite base_not_finite;
  std::vector<NotFinite> not_finite;  // of each model
};

struct PartDifference {
  std::string name;
  std::string base_name;                  // the base's part: "unet" for a unet_ema that the base does not have
  std::vector<TensorDifference> tensors;  // in natural order of their names
};

enum class Reference { base, mean, model };

struct Difference {
  Reference reference = Reference::base;
  DifferenceInput base;  // no path where the reference is the mean
  std::vector<DifferenceInput> models;
  std::vector<PartDifference> parts;         // those that differ anywhere or hold weights that are not finite
  std::vector<std::string> equal_parts;      // equal in the base and all models
  std::vector<std::string> only_base_parts;  // that no model has
};

// Without a base, two models are compared with each other (the first is the reference, one model is left) and more with
// the mean of all: weight by weight, over those that are finite. Averaged parts ("unet_ema") that the base lacks are
// compared with its plain ones ("unet"). Where one part is asked for, a weights file may stand for it. Sums are doubles
// added in one order: blocks of fixed size, tensors by name; so the result has the same bits for any number of threads.
// Memory: about (models + 2) x 144 KiB per thread, and a number per pair of models and tensor. Throws ConfigError
// (fewer than two models, repeated names, no such part) and DataError (other parts, tensors, shapes, or integers
// against floats, naming both; files), Interrupted.
Difference measure_difference(const std::optional<DifferenceInput>& base, const std::vector<DifferenceInput>& models,
                              const DifferenceOptions& options = {});

// Sums over tensors that belong together.
struct DifferenceRow {
  std::string part;   // empty: all parts
  std::string block;  // block or tensor; empty: the whole part
  DeltaSums sums;
};
// Blocks in natural order; those that hold integers only are left out.
std::vector<DifferenceRow> block_rows(const PartDifference& part);
std::vector<DifferenceRow> tensor_rows(const PartDifference& part);
DifferenceRow part_row(const PartDifference& part);
DifferenceRow total_row(const Difference& difference);

}  // namespace soup
