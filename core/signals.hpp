// A stop request by SIGTERM, SIGINT or SIGUSR1: the handler only sets a flag, loops ask for it at step boundaries.
#pragma once

namespace soup {

// Installs the handlers; a second signal of the same kind ends the process at once.
void install_stop_signals();
[[nodiscard]] bool stop_requested() noexcept;

}  // namespace soup
