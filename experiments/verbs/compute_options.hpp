// --threads and --device: where a verb computes.
#pragma once

#include <c10/core/Device.h>

#include <CLI/CLI.hpp>
#include <string>

namespace soup {

struct ComputeOptions {
  int threads = 0;
  std::string device = "auto";  // of device_names
};

void add_compute_options(CLI::App& app, ComputeOptions& options);
// Sets threads and device up for this process. Throws ConfigError: device cuda without a GPU.
c10::Device set_up(const ComputeOptions& options);

}  // namespace soup
