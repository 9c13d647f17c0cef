// libvips, started once a process, and its images, owned. Included by the few files that call libvips.
#pragma once

#include <vips/vips.h>

#include <memory>
#include <string>

namespace soup {

struct VipsUnref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using VipsHandle = std::unique_ptr<VipsImage, VipsUnref>;

// Throws InvariantError when libvips does not start. Its threads do not survive a fork: see load_icon.
void start_vips();
// Its last error in one line of at most 300 bytes; forgets it.
std::string take_vips_error();

}  // namespace soup
