// The methods by name: their parameters, ranges and defaults.
#include "merge/method.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

constexpr MethodParameter lambda{"lambda", "factor of the merged difference from the base", 1.0, 0.0, 1e6, true};
constexpr MethodParameter drop{"drop", "probability with which an element of a difference is dropped", 0.9, 0.0, 1.0};

constexpr MethodParameter density(double standard) {
  return {"density", "share of each difference that is kept, by magnitude", standard, 0.0, 1.0, true};
}

constexpr std::array task_arithmetic_parameters{lambda};
constexpr std::array ties_parameters{density(0.2), lambda};
constexpr std::array dare_linear_parameters{drop, lambda};
constexpr std::array dare_ties_parameters{density(1.0), drop, lambda};

struct KnownMethod {
  std::string_view name;
  std::span<const MethodParameter> parameters;
  bool has_seed;
  std::unique_ptr<Method> (*make)(const DeltaSettings& settings);
};

constexpr std::array known_methods{
    KnownMethod{"slerp", {}, false, [](const DeltaSettings&) { return make_slerp(); }},
    KnownMethod{"task_arithmetic", task_arithmetic_parameters, false, make_task_arithmetic},
    KnownMethod{"ties", ties_parameters, false, make_ties},
    KnownMethod{"dare_linear", dare_linear_parameters, true, make_task_arithmetic},
    KnownMethod{"dare_ties", dare_ties_parameters, true, make_ties},
    KnownMethod{"model_stock", {}, false, [](const DeltaSettings&) { return make_model_stock(); }},
};

const KnownMethod& known(std::string_view name) {
  const auto found = std::ranges::find(known_methods, name, &KnownMethod::name);
  if (found == known_methods.end()) {
    const std::vector<std::string> names = method_names();
    const std::string near = nearest(name, names);
    throw ConfigError(fmt::format("method \"{}\" is none of {}", name, fmt::join(names, ", ")),
                      near.empty() ? "" : fmt::format("did you mean {}?", near));
  }
  return *found;
}

bool is_allowed(const MethodParameter& parameter, double value) {
  return parameter.open_below ? value > parameter.least && value <= parameter.most
                              : value >= parameter.least && value < parameter.most;
}

std::string range_of(const MethodParameter& parameter) {
  return fmt::format("{}{}, {}{}", parameter.open_below ? '(' : '[', parameter.least, parameter.most,
                     parameter.open_below ? ']' : ')');
}

void require_parameters_of(const KnownMethod& method, const MethodSettings& settings) {
  std::vector<std::string> names;
  std::ranges::transform(method.parameters, std::back_inserter(names),
                         [](const MethodParameter& parameter) { return std::string(parameter.name); });
  for (const auto& [name, value] : settings.parameters) {
    if (std::ranges::find(names, name) == names.end()) {
      throw ConfigError(fmt::format("method {} has no parameter {}", method.name, name),
                        names.empty() ? "it has none" : fmt::format("it has {}", fmt::join(names, ", ")));
    }
  }
  if (settings.seed && !method.has_seed) {
    throw ConfigError(fmt::format("method {} draws nothing, so it has no seed", method.name));
  }
}

}  // namespace

void TensorBlend::collect(int, const Strip&) {
  throw InvariantError("a pass of a method that has none");
}

void TensorBlend::end_pass(int) {}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  std::ranges::transform(known_methods, std::back_inserter(names),
                         [](const KnownMethod& method) { return std::string(method.name); });
  return names;
}

std::span<const MethodParameter> parameters_of(std::string_view method) {
  return known(method).parameters;
}

bool has_seed(std::string_view method) {
  return known(method).has_seed;
}

MethodSettings complete(const MethodSettings& settings) {
  const KnownMethod& method = known(settings.name);
  require_parameters_of(method, settings);
  MethodSettings result = settings;
  for (const MethodParameter& parameter : method.parameters) {
    const auto [entry, is_new] = result.parameters.emplace(parameter.name, parameter.standard);
    if (!is_allowed(parameter, entry->second)) {
      throw ConfigError(fmt::format("{} is {}, but must be in {}", parameter.name, entry->second, range_of(parameter)),
                        fmt::format("it is the {}", parameter.purpose));
    }
  }
  if (method.has_seed && !result.seed) {
    result.seed = 0;
  }
  return result;
}

std::unique_ptr<Method> make_method(const MethodSettings& settings) {
  const MethodSettings all = complete(settings);
  DeltaSettings values;
  const auto take = [&all](const char* name, double& value) {
    const auto found = all.parameters.find(name);
    value = found == all.parameters.end() ? value : found->second;
  };
  take("lambda", values.lambda);
  take("density", values.density);
  take("drop", values.drop);
  values.seed = all.seed.value_or(0);
  return known(all.name).make(values);
}

}  // namespace soup
