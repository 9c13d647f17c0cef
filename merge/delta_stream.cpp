// The deltas of one part's tensors, read block by block on several threads and summed up.
#include "merge/delta_stream.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.hpp"
#include "core/simd.hpp"
#include "merge/block_loop.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

// What a thread takes at once. Its sums are kept until the tensor is complete, so it is large; the sums' bits depend on
// it.
constexpr std::uint64_t segment_elements = std::uint64_t{1} << 20;
// What is read of each model at once.
constexpr std::uint64_t piece_elements = 16384;
// What goes through the arithmetic at once: the deltas of a few models stay in the second-level cache. The sums' bits
// depend on it.
constexpr std::size_t strip_elements = 2048;
// How far ahead the system is told what will be read.
constexpr std::uint64_t ahead_elements = std::uint64_t{4} << 20;

struct Segment {
  DeltaSums sums;
  std::vector<TensorChange> changes;
  NotFinite base_not_finite;
  std::vector<NotFinite> not_finite;

  explicit Segment(std::size_t models) : sums(models), changes(models), not_finite(models) {}
};

void join(NotFinite& into, const NotFinite& later) {
  if (into.count == 0) {
    into.first = later.first;
  }
  into.count += later.count;
}

void join(TensorChange& into, const TensorChange& later) {
  const bool equal = into.equal && later.equal;
  if (later.largest > into.largest) {
    into = later;
  }
  into.equal = equal;
}

struct Buffers {
  explicit Buffers(std::size_t models)
      : bytes(models + 1), base(strip_elements), values(models, std::vector<double>(strip_elements)), deltas(values) {}

  std::vector<std::vector<std::byte>> bytes;  // of the models' pieces, then of the base's
  std::vector<float> floats = std::vector<float>(strip_elements);
  std::vector<double> base;
  std::vector<std::vector<double>> values;
  std::vector<std::vector<double>> deltas;
};

SOUP_SIMD void widen(const float* from, std::size_t count, double* to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = from[i];
  }
}

SOUP_SIMD void subtract(const double* values, const double* base, std::size_t count, double* deltas) {
  for (std::size_t i = 0; i < count; ++i) {
    deltas[i] = values[i] - base[i];
  }
}

SOUP_SIMD void add_differences(const double* values, const double* origin, std::size_t count, double* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] += values[i] - origin[i];
  }
}

SOUP_SIMD void divide_and_add(const double* origin, double divisor, std::size_t count, double* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] = origin[i] + sums[i] / divisor;
  }
}

SOUP_SIMD double largest_of(const double* values, std::size_t count) {
  double largest = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double magnitude = std::fabs(values[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

SOUP_SIMD bool all_finite(const double* values, std::size_t count) {
  std::uint64_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    bad |= static_cast<std::uint64_t>(!(std::fabs(values[i]) <= std::numeric_limits<double>::max()));
  }
  return bad == 0;
}

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
      const std::uint64_t segments = (tensor.elements + segment_elements - 1) / segment_elements;
      segments_.emplace_back(segments, Segment(stream.models.size()));
    }
  }

  void work(const Block& block, Buffers& buffers) {
    Segment& segment = segments_[block.tensor][block.first / segment_elements];
    const bool floating = is_floating(tensors_[block.tensor].dtype);
    for (std::uint64_t done = 0; done < block.count; done += piece_elements) {
      const Block piece{block.tensor, block.first + done, std::min(piece_elements, block.count - done)};
      read(piece, buffers);
      if (floating) {
        add_piece(piece, buffers, segment);
      } else {
        compare_piece(buffers, segment);
      }
    }
  }

  [[nodiscard]] std::vector<TensorDifference> finish() const {
    std::vector<TensorDifference> result;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const WeightTensor& tensor = tensors_[i];
      Segment whole(stream_.models.size());
      for (const Segment& segment : segments_[i]) {
        whole.sums.add(segment.sums);
        join(whole.base_not_finite, segment.base_not_finite);
        for (std::size_t m = 0; m < stream_.models.size(); ++m) {
          join(whole.changes[m], segment.changes[m]);
          join(whole.not_finite[m], segment.not_finite[m]);
        }
      }
      result.push_back({tensor.name,
                        {},
                        tensor.dtype,
                        tensor.shape,
                        std::move(whole.sums),
                        std::move(whole.changes),
                        whole.base_not_finite,
                        std::move(whole.not_finite)});
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

  void read(const Block& piece, Buffers& buffers) const {
    for (std::size_t i = 0; i < sources_[piece.tensor].size(); ++i) {
      const Source& source = sources_[piece.tensor][i];
      if (piece.first % ahead_elements == 0) {
        source.weights->will_read(source.tensor, piece.first, 2 * ahead_elements);
      }
      buffers.bytes[i].resize(piece.count * size_of(source.dtype));
      source.weights->read(source.tensor, piece.first, buffers.bytes[i]);
    }
  }

  void compare_piece(const Buffers& buffers, Segment& segment) const {
    const std::vector<std::byte>& reference = buffers.bytes[stream_.base != nullptr ? stream_.models.size() : 0];
    for (std::size_t m = 0; m < stream_.models.size(); ++m) {
      segment.changes[m].equal &= buffers.bytes[m] == reference;
    }
  }

  void add_piece(const Block& piece, Buffers& buffers, Segment& segment) const {
    for (std::size_t begin = 0; begin < piece.count; begin += strip_elements) {
      const std::size_t count = std::min<std::size_t>(strip_elements, piece.count - begin);
      for (std::size_t m = 0; m < stream_.models.size(); ++m) {
        decode_strip(sources_[piece.tensor][m].dtype, buffers.bytes[m], begin, count, buffers.floats,
                     buffers.values[m].data());
      }
      if (stream_.base != nullptr) {
        decode_strip(sources_[piece.tensor].back().dtype, buffers.bytes.back(), begin, count, buffers.floats,
                     buffers.base.data());
      }
      add_strip(piece.first + begin, count, buffers, segment);
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
    widen(floats.data(), count, out);
  }

  void add_strip(std::uint64_t first, std::size_t count, Buffers& buffers, Segment& segment) const {
    const std::size_t models = stream_.models.size();
    bool finite = stream_.base == nullptr || all_finite(buffers.base.data(), count);
    for (std::size_t m = 0; m < models; ++m) {
      finite = all_finite(buffers.values[m].data(), count) && finite;
    }
    if (!finite) {
      leave_out_not_finite(first, count, buffers, segment);
    } else if (stream_.base == nullptr) {
      take_mean(count, buffers);
    }
    for (std::size_t m = 0; m < models; ++m) {
      subtract(buffers.values[m].data(), buffers.base.data(), count, buffers.deltas[m].data());
      note_largest(first, std::span(buffers.deltas[m]).first(count), buffers.base, buffers.values[m],
                   segment.changes[m]);
    }
    segment.sums.add(std::span(buffers.base).first(count), buffers.deltas);
  }

  // Taken from the first model on, so that the mean of equal weights is that weight, bit for bit.
  static void take_mean(std::size_t count, Buffers& buffers) {
    std::fill_n(buffers.base.begin(), count, 0.0);
    const double* origin = buffers.values.front().data();
    for (const std::vector<double>& values : buffers.values) {
      add_differences(values.data(), origin, count, buffers.base.data());
    }
    divide_and_add(origin, static_cast<double>(buffers.values.size()), count, buffers.base.data());
  }

  // Counts values that are not finite and replaces them: in a model by the base's, in the base by 0 and all models'
  // with it. A mean is taken of the finite ones.
  void leave_out_not_finite(std::uint64_t first, std::size_t count, Buffers& buffers, Segment& segment) const {
    const bool mean = stream_.base == nullptr;
    for (std::size_t i = 0; i < count; ++i) {
      double origin = 0.0;  // the first that is finite
      double sum = 0.0;     // of differences from it
      std::size_t finite = 0;
      for (std::size_t m = 0; m < buffers.values.size(); ++m) {
        const double value = buffers.values[m][i];
        if (std::isfinite(value)) {
          origin = finite == 0 ? value : origin;
          sum += value - origin;
          ++finite;
        } else {
          join(segment.not_finite[m], {1, first + i});
          segment.changes[m].equal = false;
        }
      }
      double& base = buffers.base[i];
      if (mean) {
        base = origin + sum / static_cast<double>(std::max<std::size_t>(finite, 1));
      }
      const bool base_finite = std::isfinite(base);
      if (!base_finite) {
        join(segment.base_not_finite, {1, first + i});
        base = 0.0;
      }
      for (std::vector<double>& values : buffers.values) {
        values[i] = base_finite && std::isfinite(values[i]) ? values[i] : base;
      }
    }
  }

  static void note_largest(std::uint64_t first, std::span<const double> deltas, const std::vector<double>& base,
                           const std::vector<double>& values, TensorChange& change) {
    const double largest = largest_of(deltas.data(), deltas.size());
    change.equal &= largest == 0.0;
    if (largest > change.largest) {
      const auto at = static_cast<std::size_t>(
          std::ranges::find(deltas, largest, [](double delta) { return std::fabs(delta); }) - deltas.begin());
      change.largest = largest;
      change.element = first + at;
      change.from = base[at];
      change.to = values[at];
    }
  }

  const DeltaStream& stream_;
  std::span<const WeightTensor> tensors_;
  std::vector<std::vector<Source>> sources_;    // per tensor: the models', then the base's
  std::vector<std::vector<Segment>> segments_;  // per tensor
};

}  // namespace

std::vector<TensorDifference> DeltaStream::run() const {
  SOUP_REQUIRE(!models.empty(), "a comparison of nothing");
  const Weights& like = base != nullptr ? *base : models.front();
  DeltaSummation summation(*this);
  BlockLoop loop;
  loop.threads = threads;
  loop.block_elements = segment_elements;
  if (progress) {
    loop.progress = [&, all = static_cast<double>(std::max<std::uint64_t>(like.bytes(), 1))](std::uint64_t done) {
      progress(static_cast<double>(done) / all);
    };
  }
  loop.run(like.tensors(), [&](std::size_t) {
    return [&, buffers = Buffers(models.size())](const Block& block) mutable { summation.work(block, buffers); };
  });
  return summation.finish();
}

}  // namespace soup
