// Mixed precision for a scope: PyTorch's autocast, which C++ has without a guard.
#pragma once

#include <ATen/autocast_mode.h>

namespace soup {

// While it lives, this thread's matrix products and convolutions compute in bfloat16 on `device`; with `on` false it
// changes nothing. The cache of cast weights is emptied at the end: a step changes the weights.
class AutocastScope {
 public:
  AutocastScope(at::Device device, bool on) : type_(device.type()), on_(on) {
    if (on_) {
      was_enabled_ = at::autocast::is_autocast_enabled(type_);
      was_type_ = at::autocast::get_autocast_dtype(type_);
      at::autocast::set_autocast_enabled(type_, true);
      at::autocast::set_autocast_dtype(type_, at::kBFloat16);
      at::autocast::increment_nesting();
    }
  }
  ~AutocastScope() {
    if (on_) {
      if (at::autocast::decrement_nesting() == 0) {
        at::autocast::clear_cache();
      }
      at::autocast::set_autocast_enabled(type_, was_enabled_);
      at::autocast::set_autocast_dtype(type_, was_type_);
    }
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType type_;
  bool on_;
  bool was_enabled_ = false;
  at::ScalarType was_type_ = at::kFloat;
};

}  // namespace soup
