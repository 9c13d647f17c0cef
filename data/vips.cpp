// libvips, started once a process.
#include "data/vips.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/error.hpp"
#include "data/image.hpp"

namespace soup {
namespace {

std::once_flag start_once;
std::atomic<bool> vips_started = false;

}  // namespace

void start_vips() {
  std::call_once(start_once, [] {
    vips_started = true;
    if (VIPS_INIT("soup") != 0) {
      throw InvariantError(std::string("libvips does not start: ") + vips_error_buffer());
    }
    vips_concurrency_set(1);  // icons are smaller than one tile
    vips_cache_set_max(0);    // no file is read twice
  });
}

std::string take_vips_error() {
  std::string text = vips_error_buffer();
  vips_error_clear();
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.erase(text.find_last_not_of(' ') + 1);
  return text.empty() ? "libvips does not say why" : text.substr(0, 300);
}

bool decoder_started() {
  return vips_started;
}

}  // namespace soup
