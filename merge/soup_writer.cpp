// One part of a soup being written from integer sums, with the accumulator that keeps the sums.
#include "merge/soup_writer.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "merge/fixed_point.hpp"
#include "merge/float_formats.hpp"
#include "merge/quick_sums.hpp"

namespace soup {

namespace {

// Values finished, then converted, while they stay in the first-level cache.
constexpr std::size_t finished_elements = 2048;

// The least magnitude that rounds to infinity.
double first_beyond(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 65520.0;
    case DType::bf16:
      return 0x1.ffp127;
    case DType::f32:
      return 0x1.ffffffp127;
    default:
      return std::numeric_limits<double>::infinity();
  }
}

std::vector<TensorForm> forms_of(std::span<const WeightTensor> tensors) {
  std::vector<TensorForm> forms;
  for (const WeightTensor& tensor : tensors) {
    forms.push_back({tensor.name, tensor.dtype, tensor.shape});
  }
  return forms;
}

// The accumulator's tensors in the files of the weights', in the accumulator's folder.
FileLayout accumulator_layout(const FileLayout& layout, std::span<const WeightTensor> tensors) {
  FileLayout result;
  for (const std::filesystem::path& file : layout.files) {
    result.files.push_back(std::filesystem::path(accumulator_folder) / file);
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (is_floating(tensors[i].dtype)) {
      result.file_of.push_back(layout.file_of[i]);
    }
  }
  return result;
}

}  // namespace

DType soup_dtype(DType ingredient, const SoupScale& scale) {
  return is_floating(ingredient) ? scale.dtype.value_or(ingredient) : ingredient;
}

void finish_as(DType dtype, std::span<const std::int64_t> sums, const SoupScale& scale, std::string_view tensor,
               std::span<std::byte> out) {
  if (finish_quickly(dtype, sums, scale.total_weight, scale.scale_bits, out)) {
    return;
  }
  if (dtype == DType::f32) {
    finish(sums, scale.total_weight, scale.scale_bits, std::span(reinterpret_cast<float*>(out.data()), sums.size()));
    return;
  }
  std::array<double, finished_elements> values;
  for (std::size_t begin = 0; begin < sums.size(); begin += finished_elements) {
    const std::size_t count = std::min(finished_elements, sums.size() - begin);
    const std::span<double> block = std::span(values).first(count);
    finish(sums.subspan(begin, count), scale.total_weight, scale.scale_bits, block);
    encode_as(dtype, block, tensor, out.subspan(begin * size_of(dtype), count * size_of(dtype)));
  }
}

void encode_as(DType dtype, std::span<const double> values, std::string_view tensor, std::span<std::byte> out) {
  const double largest = largest_magnitude(values, tensor);
  if (largest >= first_beyond(dtype)) {
    throw DataError(std::string(tensor),
                    fmt::format("its largest weight {:.9g} does not fit {}", largest, name_of(dtype)),
                    dtype == DType::f32 ? "--dtype f64 holds it" : "--dtype f32 holds it");
  }
  encode(values, dtype, out);
}

SoupWriter::SoupWriter(const std::filesystem::path& folder, const FileLayout& layout, const Weights& like,
                       const SoupScale& scale, AccumulatorKind accumulator, std::size_t metadata_bytes)
    : like_(like), scale_(scale), kind_(accumulator) {
  for (const WeightTensor& tensor : like.tensors()) {
    const std::size_t file = layout.file_of.at(tensors_.size());
    tensors_.push_back({tensor.name, soup_dtype(tensor.dtype, scale), tensor.shape, tensor.elements, file});
    accumulator_index_.push_back(accumulator_tensors_.size());
    if (is_floating(tensor.dtype) && kind_ != AccumulatorKind::none) {
      SOUP_REQUIRE(kind_ == AccumulatorKind::wide || tensors_.back().dtype == DType::f32,
                   "a compact accumulator of weights that are not F32");
      accumulator_tensors_.push_back({tensor.name, dtype_of(kind_), tensor.shape, tensor.elements, file});
    }
  }
  soup_.emplace(folder, forms_of(tensors_), layout, metadata_bytes);
  if (kind_ != AccumulatorKind::none) {
    accumulator_.emplace(folder, forms_of(accumulator_tensors_), accumulator_layout(layout, tensors_), metadata_bytes);
  }
}

void SoupWriter::put(std::size_t tensor, std::uint64_t first, std::span<const std::int64_t> sums, Scratch& scratch) {
  prepare(tensor, sums.size(), scratch);
  finish(tensor, first, 0, sums, scratch);
  write(tensor, first, sums, scratch);
}

void SoupWriter::prepare(std::size_t tensor, std::size_t count, Scratch& scratch) const {
  const WeightTensor& info = tensors_[tensor];
  SOUP_REQUIRE(is_floating(info.dtype), "sums for an integer tensor");
  scratch.soup.resize(count * size_of(info.dtype));
  scratch.rests.resize(kind_ == AccumulatorKind::compact ? count : 0);
}

void SoupWriter::finish(std::size_t tensor, std::uint64_t first, std::size_t begin, std::span<const std::int64_t> strip,
                        Scratch& scratch) const {
  const WeightTensor& info = tensors_[tensor];
  const std::size_t size = size_of(info.dtype);
  const std::span<std::byte> soup = std::span(scratch.soup).subspan(begin * size, strip.size() * size);
  finish_as(info.dtype, strip, scale_, info.name, soup);
  if (kind_ == AccumulatorKind::compact) {
    encode_rests(strip, std::span(reinterpret_cast<const float*>(soup.data()), strip.size()), scale_.total_weight,
                 scale_.scale_bits, info.name, first, std::span(scratch.rests).subspan(begin, strip.size()));
  }
}

void SoupWriter::write(std::size_t tensor, std::uint64_t first, std::span<const std::int64_t> sums, Scratch& scratch) {
  soup_->write(tensor, first, scratch.soup);
  scratch.sums = kind_ == AccumulatorKind::wide ? std::as_bytes(sums) : std::as_bytes(std::span(scratch.rests));
  if (accumulator_) {
    accumulator_->write(accumulator_index_[tensor], first, scratch.sums);
  }
}

void SoupWriter::put(std::size_t tensor, std::uint64_t first, std::span<const double> values, Scratch& scratch) {
  const WeightTensor& info = tensors_[tensor];
  SOUP_REQUIRE(is_floating(info.dtype) && !accumulator_, "values where sums are kept, or of an integer tensor");
  scratch.soup.resize(values.size() * size_of(info.dtype));
  encode_as(info.dtype, values, info.name, scratch.soup);
  soup_->write(tensor, first, scratch.soup);
}

void SoupWriter::copy(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes) {
  SOUP_REQUIRE(!is_floating(tensors_.at(tensor).dtype), "a floating tensor is averaged, not copied");
  soup_->write(tensor, first, bytes);
}

void SoupWriter::set_metadata(const std::map<std::string, std::string>& metadata) {
  soup_->set_metadata(metadata);
  if (accumulator_) {
    accumulator_->set_metadata(metadata);
  }
}

}  // namespace soup
