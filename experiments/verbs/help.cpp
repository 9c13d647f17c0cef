// The end of every --help.
#include "experiments/verbs/verbs.hpp"

namespace soup {

std::string help_footer(const std::string& examples) {
  return "Examples:\n" + examples +
         "\n\n"
         "Exit codes: 0 success, 2 command line or configuration, 3 data or file, 4 communication,\n"
         "70 a bug in soup, 75 stopped on a signal after a checkpoint (give the same command again)";
}

}  // namespace soup
