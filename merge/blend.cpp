// Models blended by a method that is no mean, block by block on several threads.
#include "merge/blend.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/compatibility.hpp"
#include "merge/fixed_point.hpp"
#include "merge/float_formats.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

// Tensors that go through all passes together: enough for threads to share, little enough that the system still has
// them in memory at the second pass.
constexpr std::uint64_t batch_elements = std::uint64_t{4} << 20;

struct Input {
  const Weights* weights = nullptr;
  std::string name;
  std::vector<std::size_t> index;  // tensor of the first model -> its own number
  std::unique_ptr<WeightsHasher> hasher;
  double largest = 0.0;
};

// One thread's.
struct BlendBuffers {
  explicit BlendBuffers(std::size_t inputs) : bytes(inputs), values(inputs), largest(inputs) {}

  std::vector<std::vector<std::byte>> bytes;  // a block of each input
  std::vector<std::vector<double>> values;    // a strip of each input
  std::vector<double> blended;                // a block
  SoupWriter::Scratch written;
  std::vector<double> largest;  // |w| of the block, per input
};

std::uint64_t bytes_per_thread(const std::vector<Input>& inputs, std::uint64_t block_elements) {
  std::uint64_t widest = 1;
  for (const Input& input : inputs) {
    for (const WeightTensor& tensor : input.weights->tensors()) {
      widest = std::max<std::uint64_t>(widest, size_of(tensor.dtype));
    }
  }
  // The block as read, a strip of it in double, and two more strips in which a method may work; the result as doubles
  // and as written.
  return inputs.size() * (block_elements * widest + 3 * strip_elements * sizeof(double)) +
         2 * block_elements * sizeof(double);
}

class Blending {
 public:
  Blending(const Blend& blend, const BlendOptions& options, SoupWriter& out)
      : blend_(blend), options_(options), out_(out), tensors_(out.like().tensors()) {
    for (const BlendInput& model : blend.models) {
      add_input(model);
    }
    if (blend.method.needs_base()) {
      SOUP_REQUIRE(blend.base.weights != nullptr, "a method without the base it needs");
      add_input(blend.base);
    }
    if (options.digests) {
      soup_hasher_ = std::make_unique<WeightsHasher>(out.tensors());
    }
    const std::uint64_t fitting = options.memory / bytes_per_thread(inputs_, options.block_elements);
    loop_.threads =
        static_cast<int>(std::clamp<std::uint64_t>(fitting, 1, static_cast<std::uint64_t>(options.threads)));
    loop_.block_elements = options.block_elements;
  }

  void run() {
    for (std::size_t begin = 0; begin < tensors_.size();) {
      std::uint64_t elements = 0;
      std::size_t end = begin;
      while (end < tensors_.size() && (end == begin || elements + tensors_[end].elements <= batch_elements)) {
        elements += tensors_[end++].elements;
      }
      run_batch(begin, end);
      begin = end;
    }
  }

  [[nodiscard]] SumOutcome outcome() const {
    SumOutcome outcome;
    for (const Input& input : inputs_) {
      outcome.terms.push_back({input.largest, input.hasher ? std::optional(input.hasher->finish()) : std::nullopt});
    }
    if (soup_hasher_) {
      outcome.soup = soup_hasher_->finish();
    }
    return outcome;
  }

 private:
  void add_input(const BlendInput& input) {
    Input& added = inputs_.emplace_back(Input{input.weights, input.name, {}, nullptr, 0.0});
    for (const WeightTensor& tensor : tensors_) {
      added.index.push_back(input.weights->same(tensor));
    }
    if (options_.digests) {
      added.hasher = std::make_unique<WeightsHasher>(input.weights->tensors());
    }
  }

  // Of a floating tensor; nullptr for others.
  [[nodiscard]] std::unique_ptr<TensorBlend> begin_tensor(const WeightTensor& tensor) const {
    if (!is_floating(tensor.dtype)) {
      return nullptr;
    }
    BlendTensor begun{tensor.name, tensor.elements, {}, {}};
    for (const BlendInput& model : blend_.models) {
      begun.models.push_back(model.name);
    }
    const std::optional<std::size_t> rule = rule_of(blend_.rules, blend_.part, tensor.name);
    begun.weights = tensor_weights(begun.models, blend_.weights, rule ? &blend_.rules[*rule] : nullptr);
    return blend_.method.begin(begun);
  }

  // Tensors [begin, end).
  void run_batch(std::size_t begin, std::size_t end) {
    std::vector<std::unique_ptr<TensorBlend>> blends;
    for (std::size_t i = begin; i < end; ++i) {
      blends.push_back(begin_tensor(tensors_[i]));
    }
    const int passes = blend_.method.passes();
    for (int pass = 0; pass <= passes; ++pass) {
      const std::uint64_t before = done_;
      loop_.progress = [&](std::uint64_t bytes) {
        done_ = before + bytes;
        if (options_.progress) {
          options_.progress(done_ / static_cast<std::uint64_t>(passes + 1));
        }
      };
      loop_.run(tensors_.subspan(begin, end - begin), [&](std::size_t) {
        return [&, buffers = BlendBuffers(inputs_.size())](const Block& block) mutable {
          const Block in_all{begin + block.tensor, block.first, block.count};
          TensorBlend* blend = blends[block.tensor].get();
          if (pass < passes) {
            if (blend != nullptr) {
              collect(in_all, pass, *blend, buffers);
            }
          } else if (blend != nullptr) {
            write(in_all, *blend, buffers);
          } else {
            copy(in_all, buffers);
          }
        };
      });
      for (const std::unique_ptr<TensorBlend>& blend : blends) {
        if (blend && pass < passes) {
          blend->end_pass(pass);
        }
      }
    }
  }

  void collect(const Block& block, int pass, TensorBlend& blend, BlendBuffers& buffers) const {
    read(block, buffers);
    for_strips(block, buffers, [&](const Strip& strip) { blend.collect(pass, strip); });
  }

  void write(const Block& block, const TensorBlend& blend, BlendBuffers& buffers) {
    read(block, buffers);
    hash(block, buffers);
    std::ranges::fill(buffers.largest, 0.0);
    buffers.blended.resize(block.count);
    for_strips(block, buffers, [&](const Strip& strip) {
      blend.blend(strip, std::span(buffers.blended).subspan(strip.first - block.first, strip.count()));
    });
    {
      const std::scoped_lock lock(mutex_);
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        inputs_[i].largest = std::max(inputs_[i].largest, buffers.largest[i]);
      }
    }
    out_.put(block.tensor, block.first, std::span<const double>(buffers.blended), buffers.written);
    if (soup_hasher_) {
      soup_hasher_->add(block.tensor, block.first, buffers.written.soup);
    }
  }

  void copy(const Block& block, BlendBuffers& buffers) {
    read(block, buffers);
    hash(block, buffers);
    for (std::size_t i = 1; i < inputs_.size(); ++i) {
      require_equal_integers(tensors_[block.tensor], block.first, {buffers.bytes[0], inputs_[0].name},
                             {buffers.bytes[i], inputs_[i].name}, inputs_[i].weights->path());
    }
    out_.copy(block.tensor, block.first, buffers.bytes[0]);
    if (soup_hasher_) {
      soup_hasher_->add(block.tensor, block.first, buffers.bytes[0]);
    }
  }

  void read(const Block& block, BlendBuffers& buffers) const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i].weights->read_on(inputs_[i].index[block.tensor], block.first, block.count, buffers.bytes[i]);
    }
  }

  void hash(const Block& block, const BlendBuffers& buffers) const {
    for (std::size_t i = 0; options_.digests && i < inputs_.size(); ++i) {
      inputs_[i].hasher->add(inputs_[i].index[block.tensor], block.first, buffers.bytes[i]);
    }
  }

  template <typename Use>
  void for_strips(const Block& block, BlendBuffers& buffers, const Use& use) const {
    for (std::uint64_t begin = 0; begin < block.count; begin += strip_elements) {
      const std::size_t count = std::min(strip_elements, block.count - begin);
      Strip strip{block.first + begin, {}, {}};
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        decode_strip(i, block, begin, count, buffers);
        (i < blend_.models.size() ? strip.models.emplace_back() : strip.base) = buffers.values[i];
      }
      use(strip);
    }
  }

  // Elements [begin, begin + count) of what was read of the block, which must be finite.
  void decode_strip(std::size_t number, const Block& block, std::uint64_t begin, std::size_t count,
                    BlendBuffers& buffers) const {
    const Input& input = inputs_[number];
    const WeightTensor& tensor = input.weights->tensors()[input.index[block.tensor]];
    const std::size_t size = size_of(tensor.dtype);
    const std::span<const std::byte> bytes = std::span(buffers.bytes[number]).subspan(begin * size, count * size);
    std::vector<double>& values = buffers.values[number];
    values.resize(count);
    decode(tensor.dtype, bytes, values);
    try {
      const double largest = largest_magnitude(std::span<const double>(values), tensor.name, block.first + begin);
      buffers.largest[number] = std::max(buffers.largest[number], largest);
    } catch (const DataError& error) {
      throw DataError(input.weights->path(), fmt::format("ingredient {}, tensor {}", input.name, error.message()),
                      error.hint());
    }
  }

  const Blend& blend_;
  const BlendOptions& options_;
  SoupWriter& out_;
  std::span<const WeightTensor> tensors_;  // of out_.like()
  std::vector<Input> inputs_;              // the models, then the base
  std::unique_ptr<WeightsHasher> soup_hasher_;
  BlockLoop loop_;
  std::uint64_t done_ = 0;  // bytes of the soup, times passes
  std::mutex mutex_;
};

}  // namespace

void require_usable_weights(const Method& method, std::span<const std::string> names, std::span<const double> weights,
                            std::span<const WeightRule> rules) {
  method.require_usable(weights, "");
  for (const WeightRule& rule : rules) {
    method.require_usable(tensor_weights(names, weights, &rule), fmt::format(" in the rule for \"{}\"", rule.pattern));
  }
}

SumOutcome stream_blend(const Blend& blend, const BlendOptions& options, SoupWriter& out) {
  SOUP_REQUIRE(blend.models.size() == blend.weights.size() && options.block_elements % digest_block_elements == 0,
               "a blend of other sizes");
  Blending blending(blend, options, out);
  blending.run();
  return blending.outcome();
}

}  // namespace soup
