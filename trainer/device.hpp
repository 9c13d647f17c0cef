// The chosen device as PyTorch's, set up for this process.
#pragma once

#include <c10/core/Device.h>

#include "launch/device.hpp"

namespace soup {

// Makes `device` this process's own, once, before anything is computed on it. On a GPU float32 then means float32 (no
// TF32), and with `deterministic` the same calls give the same bits every time, at some cost of speed.
c10::Device use_device(ComputeDevice device, bool deterministic);

}  // namespace soup
