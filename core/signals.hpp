// A stop request by SIGTERM, SIGINT or SIGUSR1: the handler only sets a flag, loops ask for it at step boundaries.
#pragma once

namespace soup {

// Installs the handlers. A signal of the same kind more than a second after the first ends the process at once; what
// comes sooner is the same request once more: timeout(1) and launchers signal a process and then its whole group.
void install_stop_signals();
[[nodiscard]] bool stop_requested() noexcept;

}  // namespace soup
