// Sums of weights, block by block on several threads.
#include "merge/streamed_sum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/compatibility.hpp"
#include "merge/fixed_point.hpp"
#include "merge/float_formats.hpp"
#include "merge/quick_sums.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

// What is read of a group of terms, small enough to stay in the second-level cache until it is added.
constexpr std::size_t group_bytes = std::size_t{256} << 10;
constexpr std::size_t least_group = 4;  // terms that are added together
// Elements that go through all terms of a group while their sums stay in the first-level cache.
constexpr std::size_t summed_elements = 1024;

struct Buffers {
  Buffers(std::size_t terms, const SumStart* its_start) : start(its_start), floats(summed_elements), largest(terms) {}

  SumsReader start;
  std::vector<std::int64_t> sums;
  std::vector<std::vector<std::byte>> group;  // what was read of a group of terms
  std::vector<std::byte> bytes;
  std::vector<std::byte> other;
  std::vector<float> floats;  // a strip, decoded
  SoupWriter::Scratch written;
  std::vector<double> largest;  // of the block, per term
};

std::int64_t weight_in(const SumTerm& term, std::size_t tensor) {
  return term.tensor_weights.empty() ? term.weight : term.tensor_weights[tensor];
}

class Summation {
 public:
  Summation(std::span<const SumTerm> terms, const SumStart* start, bool digests, SoupWriter& out)
      : terms_(terms), start_(start), out_(out), tensors_(out.like().tensors()) {
    // Taking an ingredient out passes through sums of the larger soup.
    guard_weight_ = std::max(out.scale().total_weight, start == nullptr ? 0 : start->scale.total_weight);
    for (const SumTerm& term : terms) {
      std::vector<std::size_t> index;
      for (const WeightTensor& tensor : tensors_) {
        index.push_back(term.weights->same(tensor));
        SOUP_REQUIRE(term.weights->tensors()[index.back()].dtype == tensor.dtype, "types that differ");
      }
      index_.push_back(std::move(index));
      if (digests) {
        hashers_.push_back(std::make_unique<WeightsHasher>(term.weights->tensors()));
      }
    }
    if (digests) {
      soup_hasher_ = std::make_unique<WeightsHasher>(out.tensors());
      accumulator_hasher_ = std::make_unique<WeightsHasher>(out.accumulator_tensors());
      if (start != nullptr) {
        start_soup_hasher_ = std::make_unique<WeightsHasher>(start->soup->tensors());
        start_accumulator_hasher_ = std::make_unique<WeightsHasher>(start->accumulator->tensors());
      }
    }
    largest_.assign(terms.size(), 0.0);
  }

  void work(const Block& block, Buffers& buffers) {
    if (is_floating(tensors_[block.tensor].dtype)) {
      sum(block, buffers);
    } else {
      copy(block, buffers);
    }
  }

  [[nodiscard]] SumOutcome outcome() const {
    SumOutcome outcome;
    for (std::size_t i = 0; i < terms_.size(); ++i) {
      outcome.terms.push_back({largest_[i], hashers_.empty() ? std::nullopt : std::optional(hashers_[i]->finish())});
    }
    if (soup_hasher_) {
      outcome.soup = soup_hasher_->finish();
      if (!out_.accumulator_tensors().empty()) {
        outcome.accumulator = accumulator_hasher_->finish();
      }
    }
    if (start_soup_hasher_) {
      outcome.start_soup = start_soup_hasher_->finish();
      outcome.start_accumulator = start_accumulator_hasher_->finish();
    }
    return outcome;
  }

 private:
  // A term's bytes of the block, hashed.
  std::span<const std::byte> read(std::size_t term, const Block& block, std::vector<std::byte>& buffer) {
    const Weights& weights = *terms_[term].weights;
    const std::size_t tensor = index_[term][block.tensor];
    weights.read_on(tensor, block.first, block.count, buffer);
    if (!hashers_.empty()) {
      hashers_[term]->add(tensor, block.first, buffer);
    }
    return buffer;
  }

  void sum(const Block& block, Buffers& buffers) {
    const WeightTensor& tensor = tensors_[block.tensor];
    // Where nobody needs the block's sums after its weights are made, strip follows strip in the first-level cache.
    const bool whole = start_ != nullptr || out_.keeps_sums() || !hashers_.empty();
    buffers.sums.resize(whole ? block.count : std::min<std::size_t>(summed_elements, block.count));
    if (start_ != nullptr) {
      load_start(block, buffers);
    }
    out_.prepare(block.tensor, block.count, buffers.written);
    std::ranges::fill(buffers.largest, 0.0);
    const std::size_t piece_elements = piece_of(block, size_of(tensor.dtype));
    for (std::size_t begin = 0; begin < block.count; begin += piece_elements) {
      add_piece(block, {begin, std::min<std::size_t>(piece_elements, block.count - begin)}, whole, buffers);
    }
    {
      const std::scoped_lock lock(mutex_);
      std::ranges::transform(largest_, buffers.largest, largest_.begin(),
                             [](double a, double b) { return std::max(a, b); });
    }
    out_.write(block.tensor, block.first, buffers.sums, buffers.written);
    if (soup_hasher_) {
      soup_hasher_->add(block.tensor, block.first, buffers.written.soup);
      if (!buffers.written.sums.empty()) {
        accumulator_hasher_->add(out_.accumulator_index(block.tensor), block.first, buffers.written.sums);
      }
    }
  }

  // Elements of a block.
  struct Piece {
    std::size_t begin = 0;
    std::size_t count = 0;
  };

  // Elements that are read at once of each term: as many as let all terms be one group, in whole strips. Digests are of
  // whole blocks.
  [[nodiscard]] std::size_t piece_of(const Block& block, std::size_t element_bytes) const {
    const std::size_t strip_bytes = summed_elements * element_bytes * terms_.size();
    return hashers_.empty() ? summed_elements * std::max<std::size_t>(1, group_bytes / strip_bytes) : block.count;
  }

  void add_piece(const Block& block, Piece piece, bool whole, Buffers& buffers) {
    const std::size_t size = size_of(tensors_[block.tensor].dtype);
    const std::size_t group = std::min(std::max(group_bytes / (piece.count * size), least_group), terms_.size());
    buffers.group.resize(std::max(buffers.group.size(), group));
    for (std::size_t first_term = 0; first_term < terms_.size(); first_term += group) {
      const std::size_t terms = std::min(group, terms_.size() - first_term);
      for (std::size_t i = 0; i < terms; ++i) {
        const Block read_block{block.tensor, block.first + piece.begin, piece.count};
        static_cast<void>(read(first_term + i, read_block, buffers.group[i]));
      }
      for (std::size_t begin = 0; begin < piece.count; begin += summed_elements) {
        const std::size_t count = std::min(summed_elements, piece.count - begin);
        const std::size_t in_block = piece.begin + begin;
        const Block strip{block.tensor, block.first + in_block, count};
        const std::span<std::int64_t> sums = std::span(buffers.sums).subspan(whole ? in_block : 0, count);
        for (std::size_t i = 0; i < terms;) {
          i += add_strips(first_term + i, terms - i, strip, buffers.group.data() + i, begin * size, sums, buffers);
        }
        if (first_term + terms == terms_.size()) {
          out_.finish(block.tensor, strip.first, in_block, sums, buffers.written);
        }
      }
    }
  }

  // Adds the strips of as many of the next terms as go together, and returns how many: four or two where all is usual.
  std::size_t add_strips(std::size_t number, std::size_t terms, const Block& strip, const std::vector<std::byte>* group,
                         std::size_t offset, std::span<std::int64_t> sums, Buffers& buffers) const {
    const DType dtype = tensors_[strip.tensor].dtype;
    const bool fresh = number == 0 && start_ == nullptr;
    const auto bytes_of = [&](std::size_t i) {
      return std::span(group[i]).subspan(offset, sums.size() * size_of(dtype));
    };
    const std::size_t together = terms >= 4 ? 4 : 2;
    const bool usual = dtype != DType::f64 && terms >= 2 &&
                       std::ranges::all_of(terms_.subspan(number, together),
                                           [&](const SumTerm& term) { return weight_in(term, strip.tensor) == 1; });
    if (usual) {
      std::array<std::span<const std::byte>, 4> values;
      std::array<double, 4> largest{};
      for (std::size_t i = 0; i < together; ++i) {
        values[i] = bytes_of(i);
      }
      if (accumulate_quickly(dtype, std::span(values).first(together), guard_weight_, out_.scale().scale_bits, sums,
                             largest, fresh)) {
        for (std::size_t i = 0; i < together; ++i) {
          buffers.largest[number + i] = std::max(buffers.largest[number + i], largest[i]);
        }
        return together;
      }
    }
    if (fresh) {
      std::ranges::fill(sums, 0);
    }
    const double largest = add_strip(number, strip, bytes_of(0), sums, buffers.floats);
    buffers.largest[number] = std::max(buffers.largest[number], largest);
    return 1;
  }

  // The values of F32, F16 or BF16: the bytes themselves, or decoded into `scratch`.
  static std::span<const float> floats_of(DType dtype, std::span<const std::byte> bytes, std::span<float> scratch) {
    if (dtype == DType::f32) {
      return {reinterpret_cast<const float*>(bytes.data()), scratch.size()};
    }
    decode(dtype, bytes, scratch);
    return scratch;
  }

  // Returns the largest |w| of the strip.
  double add_strip(std::size_t number, const Block& strip, std::span<const std::byte> bytes,
                   std::span<std::int64_t> sums, std::vector<float>& floats) const {
    const SumTerm& term = terms_[number];
    const WeightTensor& tensor = tensors_[strip.tensor];
    const std::int64_t weight = weight_in(term, strip.tensor);
    const auto add = [&](auto values) {
      return accumulate(values, weight, guard_weight_, out_.scale().scale_bits, tensor.name, sums, strip.first);
    };
    try {
      if (tensor.dtype == DType::f64) {
        return add(std::span(reinterpret_cast<const double*>(bytes.data()), sums.size()));
      }
      return add(floats_of(tensor.dtype, bytes, std::span(floats).first(sums.size())));
    } catch (const DataError& error) {
      throw DataError(term.weights->path(), fmt::format("ingredient {}, tensor {}", term.name, error.message()),
                      error.hint());
    }
  }

  // The start's sums, after a look whether its weights are what they give.
  void load_start(const Block& block, Buffers& buffers) const {
    const WeightTensor& like = tensors_[block.tensor];
    const std::size_t soup = start_->soup->same(like);
    const std::size_t sums = start_->accumulator->same(like);
    if (start_->soup->tensors()[soup].dtype != soup_dtype(like.dtype, start_->scale)) {
      throw DataError(start_->soup->path(), fmt::format("tensor {} has not the type that its ledger says", like.name));
    }
    buffers.start.read(soup, sums, block);
    if (start_soup_hasher_) {
      start_soup_hasher_->add(soup, block.first, buffers.start.soup());
      start_accumulator_hasher_->add(sums, block.first, buffers.start.kept());
    }
    std::ranges::copy(buffers.start.sums(), buffers.sums.begin());
  }

  void copy(const Block& block, Buffers& buffers) {
    const WeightTensor& tensor = tensors_[block.tensor];
    const std::span<const std::byte> ours = read(0, block, buffers.bytes);
    const auto require_equal = [&](std::span<const std::byte> theirs, const std::filesystem::path& path,
                                   const std::string& name) {
      require_equal_integers(tensor, block.first, {ours, terms_.front().name}, {theirs, name}, path);
    };
    for (std::size_t i = 1; i < terms_.size(); ++i) {
      require_equal(read(i, block, buffers.other), terms_[i].weights->path(), terms_[i].name);
    }
    if (start_ != nullptr) {
      buffers.other.resize(buffers.bytes.size());
      const std::size_t soup = start_->soup->same(tensor);
      start_->soup->read(soup, block.first, buffers.other);
      if (start_soup_hasher_) {
        start_soup_hasher_->add(soup, block.first, buffers.other);
      }
      require_equal(buffers.other, start_->soup->path(), "the soup");
    }
    out_.copy(block.tensor, block.first, ours);
    if (soup_hasher_) {
      soup_hasher_->add(block.tensor, block.first, ours);
    }
  }

  std::span<const SumTerm> terms_;
  const SumStart* start_;
  SoupWriter& out_;
  std::span<const WeightTensor> tensors_;  // of out_.like()
  std::int64_t guard_weight_ = 1;
  std::vector<std::vector<std::size_t>> index_;  // of each term: tensor of tensors_ -> its own number
  std::vector<std::unique_ptr<WeightsHasher>> hashers_;
  std::unique_ptr<WeightsHasher> soup_hasher_;
  std::unique_ptr<WeightsHasher> accumulator_hasher_;
  std::unique_ptr<WeightsHasher> start_soup_hasher_;
  std::unique_ptr<WeightsHasher> start_accumulator_hasher_;
  std::mutex mutex_;
  std::vector<double> largest_;  // per term
};

}  // namespace

SumOutcome stream_sum(std::span<const SumTerm> terms, const SumStart* start, const SumOptions& options,
                      SoupWriter& out) {
  SOUP_REQUIRE(!terms.empty(), "a sum of nothing");
  Summation summation(terms, start, options.digests, out);
  BlockLoop loop;
  loop.threads = options.threads;
  loop.block_elements = digest_block_elements;
  loop.progress = options.progress;
  loop.run(out.like().tensors(), [&](std::size_t) {
    return [&, buffers = Buffers(terms.size(), start)](const Block& block) mutable { summation.work(block, buffers); };
  });
  return summation.outcome();
}

}  // namespace soup
