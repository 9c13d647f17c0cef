// --threads and --device: where a verb computes.
#include "experiments/verbs/compute_options.hpp"

#include <ATen/Parallel.h>

#include <vector>

#include "trainer/device.hpp"

namespace soup {

void add_compute_options(CLI::App& app, ComputeOptions& options) {
  app.add_option("--threads", options.threads, "Threads; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--device", options.device, "Where networks compute; auto: on a GPU where there is one")
      ->check(CLI::IsMember(std::vector<std::string>(device_names.begin(), device_names.end())))
      ->capture_default_str();
}

c10::Device set_up(const ComputeOptions& options) {
  if (options.threads > 0) {
    at::set_num_threads(options.threads);
  }
  const bool on_cpu = options.device == "cpu";
  return use_device(on_cpu ? ComputeDevice() : choose_device(options.device, probe_gpus()), /*deterministic=*/true);
}

}  // namespace soup
