#include "experiments/keys.hpp"

#include <fmt/format.h>

#include <cmath>

namespace soup {

std::string WholeRange::text() const {
  if (most == std::numeric_limits<std::int64_t>::max()) {
    return fmt::format("{} or more", least);
  }
  return fmt::format("{} to {}", least, most);
}

std::string NumberRange::text() const {
  if (std::isinf(most)) {
    return above_least ? fmt::format("more than {}", least) : fmt::format("{} or more", least);
  }
  return fmt::format("{}{}, {}{}", above_least ? '(' : '[', least, most, below_most ? ')' : ']');
}

bool NumberRange::contains(double value) const {
  return std::isfinite(value) && (above_least ? value > least : value >= least) &&
         (below_most ? value < most : value <= most);
}

}  // namespace soup
