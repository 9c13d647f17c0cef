// Ways to merge models other than the exact mean: each takes some passes over a tensor to learn about it as a whole,
// and one to blend it, strip by strip in double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

// What a tensor is worked on in, always from a multiple of this on: sums over a tensor are sums over strips, in their
// order, so that the bits depend on neither threads nor blocks.
inline constexpr std::uint64_t strip_elements = 4096;

// Elements [first, first + count) of one tensor in every model and in the base.
struct Strip {
  std::uint64_t first = 0;
  std::vector<std::span<const double>> models;  // each [count], in the order of the inputs
  std::span<const double> base;                 // [count]; empty for a method without base

  [[nodiscard]] std::size_t count() const { return models.front().size(); }
  [[nodiscard]] std::uint64_t number() const { return first / strip_elements; }
};

// The tensor that is blended.
struct BlendTensor {
  std::string name;
  std::uint64_t elements = 0;
  std::vector<std::string> models;  // the ingredients' names
  std::vector<double> weights;      // one a model
};

// One tensor while it is blended. collect() and blend() are called from several threads, collect() for strips in any
// order and once each.
class TensorBlend {
 public:
  virtual ~TensorBlend() = default;
  virtual void collect(int pass, const Strip& strip);  // only of methods with passes
  virtual void end_pass(int pass);                     // all strips were collected
  // out: [strip.count()]
  virtual void blend(const Strip& strip, std::span<double> out) const = 0;
};

class Method {
 public:
  virtual ~Method() = default;
  // Passes over a tensor before it is blended.
  [[nodiscard]] virtual int passes() const { return 0; }
  [[nodiscard]] virtual bool needs_base() const { return true; }
  // Throws ConfigError when these models cannot be merged with these weights, which `where` ("" or " in the rule ...")
  // places.
  virtual void require_usable(std::span<const double> weights, std::string_view where) const = 0;
  [[nodiscard]] virtual std::unique_ptr<TensorBlend> begin(const BlendTensor& tensor) const = 0;
};

// A method as it is asked for and recorded.
struct MethodSettings {
  std::string name;                          // of method_names()
  std::map<std::string, double> parameters;  // those left out have their defaults
  std::optional<std::uint64_t> seed;         // of methods that draw
};

// A parameter of a method, in [least, most), or (least, most] where `open_below`.
struct MethodParameter {
  std::string_view name;
  std::string_view purpose;
  double standard = 0.0;  // its default
  double least = 0.0;
  double most = 0.0;
  bool open_below = false;
};

// slerp, task_arithmetic, ties, dare_linear, dare_ties, model_stock.
std::vector<std::string> method_names();
// Throws ConfigError for an unknown name, naming the nearest.
std::span<const MethodParameter> parameters_of(std::string_view method);
bool has_seed(std::string_view method);

// The settings with every default filled in. Throws ConfigError for an unknown method, a parameter that it does not
// have, and a value out of its range.
MethodSettings complete(const MethodSettings& settings);
std::unique_ptr<Method> make_method(const MethodSettings& settings);

// The methods themselves, for make_method.
std::unique_ptr<Method> make_slerp();
std::unique_ptr<Method> make_model_stock();
struct DeltaSettings {
  double lambda = 1.0;
  double density = 1.0;  // kept of each tensor, by magnitude
  double drop = 0.0;     // probability
  std::uint64_t seed = 0;
};
std::unique_ptr<Method> make_task_arithmetic(const DeltaSettings& settings);
std::unique_ptr<Method> make_ties(const DeltaSettings& settings);

}  // namespace soup
