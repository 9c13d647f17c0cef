// The integer sums of a finished soup, block by block: what its accumulator keeps, checked against its weights.
#include "merge/sums_reader.hpp"

#include <fmt/format.h>

#include <cstring>

#include "core/error.hpp"

namespace soup {

void SumsReader::read(std::size_t soup, std::size_t kept, const Block& block) {
  const WeightTensor& tensor = start_->soup->tensors()[soup];
  const DType kept_type = start_->accumulator->tensors()[kept].dtype;
  if ((kept_type != DType::i64 && kept_type != DType::i32) ||
      (kept_type == DType::i32 && (tensor.dtype != DType::f32 || start_->scale.total_weight > most_compact_weight))) {
    throw DataError(start_->accumulator->path(), fmt::format("does not fit tensor {} of the soup", tensor.name));
  }
  start_->soup->read_on(soup, block.first, block.count, soup_);
  start_->accumulator->read_on(kept, block.first, block.count, kept_);
  sums_.resize(block.count);
  if (kept_type == DType::i64) {
    std::memcpy(sums_.data(), kept_.data(), kept_.size());
  } else {
    decode_rests(std::span(reinterpret_cast<const std::int32_t*>(kept_.data()), block.count),
                 std::span(reinterpret_cast<const float*>(soup_.data()), block.count), start_->scale.total_weight,
                 start_->scale.scale_bits, sums_);
  }
  again_.resize(soup_.size());
  finish_as(tensor.dtype, sums_, start_->scale, tensor.name, again_);
  if (again_ != soup_) {
    throw DataError(start_->accumulator->path(),
                    fmt::format("its sums of tensor {} do not give the soup's weights in {}", tensor.name,
                                start_->soup->path().string()),
                    "one of the two files was changed: delete the accumulator folder to rebuild it from the "
                    "ingredients");
  }
}

}  // namespace soup
