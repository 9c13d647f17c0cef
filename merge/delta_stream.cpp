// The deltas of one part's tensors, read block by block on several threads and summed up.
#include "merge/delta_stream.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/delta_segment.hpp"
#include "merge/float_formats.hpp"
#include "merge/ordered_sum.hpp"

namespace soup {

namespace {

// What a thread takes at once; the sums' bits depend on it. Large, because its sums, one per pair of models, may have
// to wait for those before them.
constexpr std::uint64_t delta_segment_elements = std::uint64_t{1} << 20;
// What is read of each model at once.
constexpr std::uint64_t delta_piece_elements = 16384;

struct DeltaBuffers {
  explicit DeltaBuffers(std::size_t models) : bytes(models + 1), strip(models) {}

  std::vector<std::vector<std::byte>> bytes;  // of the models' pieces, then of the base's
  DeltaStrip strip;
};

// Of one tensor.
struct Segments {
  explicit Segments(std::size_t models) : whole(models) {}

  DeltaSegment whole;
  InOrder<DeltaSegment> order;  // segments that came before their turn
};

class DeltaSummation {
 public:
  explicit DeltaSummation(const DeltaStream& stream)
      : stream_(stream), tensors_((stream.base != nullptr ? *stream.base : stream.models.front()).tensors()) {
    for (const WeightTensor& tensor : tensors_) {
      std::vector<Source> sources;
      for (const Weights& weights : stream.models) {
        sources.push_back(source_in(weights, tensor));
      }
      if (stream.base != nullptr) {
        sources.push_back(source_in(*stream.base, tensor));
      }
      sources_.push_back(std::move(sources));
      segments_.emplace_back(stream.models.size());
    }
  }

  void work(const Block& block, DeltaBuffers& buffers) {
    DeltaSegment segment(stream_.models.size());
    const bool floating = is_floating(tensors_[block.tensor].dtype);
    for (std::uint64_t done = 0; done < block.count; done += delta_piece_elements) {
      const Block piece{block.tensor, block.first + done, std::min(delta_piece_elements, block.count - done)};
      read(piece, buffers);
      if (floating) {
        add_piece(piece, buffers, segment);
      } else {
        compare_piece(buffers, segment);
      }
    }
    const std::scoped_lock lock(mutex_);
    Segments& of_tensor = segments_[block.tensor];
    of_tensor.order.add(block.first / delta_segment_elements, std::move(segment),
                        [&](const DeltaSegment& next) { of_tensor.whole.append(next); });
  }

  [[nodiscard]] std::vector<TensorDifference> finish() const {
    std::vector<TensorDifference> result;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const WeightTensor& tensor = tensors_[i];
      const DeltaSegment& whole = segments_[i].whole;
      result.push_back({tensor.name,
                        {},
                        tensor.dtype,
                        tensor.shape,
                        whole.sums,
                        whole.changes,
                        whole.base_not_finite,
                        whole.not_finite});
    }
    return result;
  }

 private:
  // A tensor of one model or of the base.
  struct Source {
    const Weights* weights = nullptr;
    std::size_t tensor = 0;
    DType dtype = DType::f32;
  };

  static Source source_in(const Weights& weights, const WeightTensor& tensor) {
    const std::size_t index = weights.same(tensor);
    return {&weights, index, weights.tensors()[index].dtype};
  }

  void read(const Block& piece, DeltaBuffers& buffers) const {
    for (std::size_t i = 0; i < sources_[piece.tensor].size(); ++i) {
      const Source& source = sources_[piece.tensor][i];
      source.weights->read_on(source.tensor, piece.first, piece.count, buffers.bytes[i]);
    }
  }

  void compare_piece(const DeltaBuffers& buffers, DeltaSegment& segment) const {
    const std::vector<std::byte>& reference = buffers.bytes[stream_.base != nullptr ? stream_.models.size() : 0];
    for (std::size_t m = 0; m < stream_.models.size(); ++m) {
      segment.changes[m].equal &= buffers.bytes[m] == reference;
    }
  }

  void add_piece(const Block& piece, DeltaBuffers& buffers, DeltaSegment& segment) const {
    for (std::size_t begin = 0; begin < piece.count; begin += DeltaStrip::elements) {
      const std::size_t count = std::min<std::size_t>(DeltaStrip::elements, piece.count - begin);
      for (std::size_t m = 0; m < stream_.models.size(); ++m) {
        decode_strip(sources_[piece.tensor][m].dtype, buffers.bytes[m], begin, count, buffers.strip.values[m].data());
      }
      if (stream_.base != nullptr) {
        decode_strip(sources_[piece.tensor].back().dtype, buffers.bytes.back(), begin, count,
                     buffers.strip.base.data());
      }
      buffers.strip.add_to(segment, piece.first + begin, count, stream_.base == nullptr);
    }
  }

  static void decode_strip(DType dtype, std::span<const std::byte> piece, std::size_t begin, std::size_t count,
                           double* out) {
    decode(dtype, piece.subspan(begin * size_of(dtype), count * size_of(dtype)), std::span(out, count));
  }

  const DeltaStream& stream_;
  std::span<const WeightTensor> tensors_;
  std::vector<std::vector<Source>> sources_;  // per tensor: the models', then the base's
  std::mutex mutex_;
  std::vector<Segments> segments_;  // per tensor
};

}  // namespace

std::vector<TensorDifference> DeltaStream::run() const {
  SOUP_REQUIRE(!models.empty(), "a comparison of nothing");
  const Weights& like = base != nullptr ? *base : models.front();
  DeltaSummation summation(*this);
  BlockLoop loop;
  loop.threads = threads;
  loop.block_elements = delta_segment_elements;
  if (progress) {
    loop.progress = [&, all = static_cast<double>(std::max<std::uint64_t>(like.bytes(), 1))](std::uint64_t done) {
      progress(static_cast<double>(done) / all);
    };
  }
  loop.run(like.tensors(), [&](std::size_t) {
    return [&, buffers = DeltaBuffers(models.size())](const Block& block) mutable { summation.work(block, buffers); };
  });
  return summation.finish();
}

}  // namespace soup
