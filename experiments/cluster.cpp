// How a cluster's scheduler is to run an experiment.
#include "experiments/cluster.hpp"

#include <regex>

namespace soup {

bool is_time_limit(std::string_view text) {
  static const std::regex limit("([0-9]{1,3}-)?[0-9]{1,5}(:[0-5][0-9]){0,2}");
  return std::regex_match(text.begin(), text.end(), limit);
}

bool is_memory_size(std::string_view text) {
  static const std::regex size("([1-9][0-9]{0,9}[KMGT]?)?");
  return std::regex_match(text.begin(), text.end(), size);
}

}  // namespace soup
