// What both executables do with their verbs.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/error.hpp"
#include "experiments/recipe.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

NamedPath named_path(const std::string& text) {
  const std::size_t equals = text.find('=');
  // A folder's name may hold "=" too ("runs/rate=0.1/soup").
  if (equals != std::string::npos && equals > 0 && text.find('/') > equals) {
    return {text.substr(0, equals), text.substr(equals + 1)};
  }
  return {name_after(text), std::filesystem::path(text).lexically_normal()};
}

int run_verbs(CLI::App& program, const std::vector<Verb>& verbs, int argc, char** argv) {
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = program.exit(error);
    return code == 0 ? 0 : static_cast<int>(ExitCode::usage);
  }
  const auto chosen = std::ranges::find_if(verbs, [](const Verb& verb) { return verb.app->parsed(); });
  SOUP_REQUIRE(chosen != verbs.end(), "a verb without an implementation was parsed");
  return chosen->run();
}

std::string help_footer(const std::string& examples) {
  return "Examples:\n" + examples +
         "\n\n"
         "Exit codes: 0 success, 2 command line or configuration, 3 data or file, 4 communication,\n"
         "70 a bug in soup, 75 stopped on a signal after a checkpoint (give the same command again)";
}

}  // namespace soup
