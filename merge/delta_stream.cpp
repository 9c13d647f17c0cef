// The deltas of one part's tensors, read block by block on several threads and summed up.
#include "merge/delta_stream.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "core/simd.hpp"
#include "merge/block_loop.hpp"
#include "merge/delta_segment.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

// What a thread takes at once; the sums' bits depend on it. Large, because its sums, one per pair of models, may have
// to wait for those before them.
constexpr std::uint64_t delta_segment_elements = std::uint64_t{1} << 20;
// What is read of each model at once.
constexpr std::uint64_t delta_piece_elements = 16384;
// How far ahead the system is told what will be read.
constexpr std::uint64_t delta_ahead_elements = std::uint64_t{4} << 20;

struct DeltaBuffers {
  explicit DeltaBuffers(std::size_t models) : bytes(models + 1), strip(models) {}

  std::vector<std::vector<std::byte>> bytes;  // of the models' pieces, then of the base's
  std::vector<float> floats = std::vector<float>(DeltaStrip::elements);
  DeltaStrip strip;
};

SOUP_SIMD void widen_strip(const float* from, std::size_t count, double* to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = from[i];
  }
}

// Joins the segments of a tensor in their order, whichever is ready first.
class OrderedSegments {
 public:
  explicit OrderedSegments(std::size_t models) : whole_(models) {}

  void add(std::uint64_t number, DeltaSegment segment) {
    waiting_.emplace(number, std::move(segment));
    for (auto next = waiting_.begin(); next != waiting_.end() && next->first == joined_; ++joined_) {
      whole_.append(next->second);
      next = waiting_.erase(next);
    }
  }

  [[nodiscard]] const DeltaSegment& whole() const { return whole_; }

 private:
  DeltaSegment whole_;
  std::uint64_t joined_ = 0;
  std::map<std::uint64_t, DeltaSegment> waiting_;
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
    segments_[block.tensor].add(block.first / delta_segment_elements, std::move(segment));
  }

  [[nodiscard]] std::vector<TensorDifference> finish() const {
    std::vector<TensorDifference> result;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const WeightTensor& tensor = tensors_[i];
      const DeltaSegment& whole = segments_[i].whole();
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
    const std::optional<std::size_t> index = weights.find(tensor.name);
    SOUP_REQUIRE(index && weights.tensors()[*index].shape == tensor.shape,
                 "weights with other tensors were not refused before");
    return {&weights, *index, weights.tensors()[*index].dtype};
  }

  void read(const Block& piece, DeltaBuffers& buffers) const {
    for (std::size_t i = 0; i < sources_[piece.tensor].size(); ++i) {
      const Source& source = sources_[piece.tensor][i];
      if (piece.first % delta_ahead_elements == 0) {
        source.weights->will_read(source.tensor, piece.first, 2 * delta_ahead_elements);
      }
      buffers.bytes[i].resize(piece.count * size_of(source.dtype));
      source.weights->read(source.tensor, piece.first, buffers.bytes[i]);
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
        decode_strip(sources_[piece.tensor][m].dtype, buffers.bytes[m], begin, count, buffers.floats,
                     buffers.strip.values[m].data());
      }
      if (stream_.base != nullptr) {
        decode_strip(sources_[piece.tensor].back().dtype, buffers.bytes.back(), begin, count, buffers.floats,
                     buffers.strip.base.data());
      }
      buffers.strip.add_to(segment, piece.first + begin, count, stream_.base == nullptr);
    }
  }

  static void decode_strip(DType dtype, std::span<const std::byte> piece, std::size_t begin, std::size_t count,
                           std::vector<float>& floats, double* out) {
    const std::span<const std::byte> bytes = piece.subspan(begin * size_of(dtype), count * size_of(dtype));
    if (dtype == DType::f64) {
      decode(bytes, std::span(out, count));
      return;
    }
    decode(dtype, bytes, std::span(floats).first(count));
    widen_strip(floats.data(), count, out);
  }

  const DeltaStream& stream_;
  std::span<const WeightTensor> tensors_;
  std::vector<std::vector<Source>> sources_;  // per tensor: the models', then the base's
  std::mutex mutex_;
  std::vector<OrderedSegments> segments_;  // per tensor
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
