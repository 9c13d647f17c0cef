// The light executable becomes soup-torch, the one beside it that maps LibTorch.
#pragma once

namespace soup {

// Throws DataError when there is no soup-torch beside this program.
void require_soup_torch();
// Replaces this process by soup-torch with these arguments (a null pointer last); what was printed must be flushed.
// Throws DataError when it cannot be started.
[[noreturn]] void become_soup_torch(char* const* argv);

}  // namespace soup
