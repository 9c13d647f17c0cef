// One weights file of a soup being written from integer sums, with the accumulator file that keeps the sums.
#include "merge/soup_file_writer.hpp"

#include "core/error.hpp"
#include "merge/fixed_point.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

std::vector<TensorForm> soup_form(const SafetensorsFile& like, const SoupScale& scale) {
  std::vector<TensorForm> form;
  for (const TensorInfo& tensor : like.tensors()) {
    form.push_back({tensor.name, soup_dtype(tensor.dtype, scale), tensor.shape});
  }
  return form;
}

std::vector<TensorForm> accumulator_form(const SafetensorsFile& like) {
  std::vector<TensorForm> form;
  for (const TensorInfo& tensor : like.tensors()) {
    if (is_floating(tensor.dtype)) {
      form.push_back({tensor.name, DType::i64, tensor.shape});
    }
  }
  return form;
}

}  // namespace

DType soup_dtype(DType ingredient, const SoupScale& scale) {
  return is_floating(ingredient) && !scale.keep_dtype ? DType::f32 : ingredient;
}

void finish_as(DType dtype, std::span<const std::int64_t> sums, const SoupScale& scale, std::vector<std::byte>& out) {
  out.resize(sums.size() * size_of(dtype));
  if (dtype == DType::f32) {
    finish(sums, scale.total_weight, scale.scale_bits, std::span(reinterpret_cast<float*>(out.data()), sums.size()));
    return;
  }
  std::vector<double> values(sums.size());
  finish(sums, scale.total_weight, scale.scale_bits, std::span<double>(values));
  encode(values, dtype, out);
}

SoupFileWriter::SoupFileWriter(const std::filesystem::path& path, const std::filesystem::path& accumulator_path,
                               const SafetensorsFile& like, const SoupScale& scale, std::size_t metadata_bytes)
    : like_(like), scale_(scale), soup_(path, soup_form(like, scale), metadata_bytes) {
  if (!accumulator_path.empty()) {
    accumulator_.emplace(accumulator_path, accumulator_form(like), metadata_bytes);
  }
  std::size_t floating = 0;
  for (std::size_t i = 0; i < like.tensors().size(); ++i) {
    const TensorInfo& tensor = like.tensors()[i];
    dtypes_.push_back(soup_dtype(tensor.dtype, scale));
    accumulator_index_.push_back(floating);
    if (is_floating(tensor.dtype)) {
      ++floating;
    } else {
      soup_.write(i, 0, like.bytes(tensor));
    }
  }
}

void SoupFileWriter::put(std::size_t tensor, std::uint64_t element, std::span<const std::int64_t> sums) {
  SOUP_REQUIRE(is_floating(like_.tensors()[tensor].dtype), "sums for an integer tensor");
  std::vector<std::byte> values;
  finish_as(dtypes_[tensor], sums, scale_, values);
  soup_.write(tensor, element * size_of(dtypes_[tensor]), values);
  if (accumulator_) {
    accumulator_->write(accumulator_index_[tensor], element * sizeof(std::int64_t), std::as_bytes(sums));
  }
}

void SoupFileWriter::set_metadata(const std::map<std::string, std::string>& metadata) {
  soup_.set_metadata(metadata);
  if (accumulator_) {
    accumulator_->set_metadata(metadata);
  }
}

}  // namespace soup
