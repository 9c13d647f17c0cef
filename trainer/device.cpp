// The chosen device as PyTorch's.
#include "trainer/device.hpp"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdlib>

namespace soup {

c10::Device use_device(ComputeDevice chosen, bool deterministic) {
  if (!chosen.is_gpu()) {
    return c10::Device(c10::kCPU);
  }
  if (deterministic) {
    // cuBLAS reads it when it is first used; without it, it may choose among algorithms by what else runs.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  }
  const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(chosen.gpu));
  at::Context& context = at::globalContext();
  context.lazyInitDevice(device.type());
  c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  // Each on its own: convolutions have a default of their own, TF32, which a value for all does not change.
  for (const at::Float32Op op : {at::Float32Op::ALL, at::Float32Op::CONV, at::Float32Op::RNN, at::Float32Op::MATMUL}) {
    context.setFloat32Precision(at::Float32Backend::CUDA, op, at::Float32Precision::IEEE);
  }
  context.setDeterministicCuDNN(deterministic);
  context.setBenchmarkCuDNN(!deterministic);
  // Not as a warning only: attention would then warn, and add up its gradients in any order.
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // nothing here reads memory it has not written
  return device;
}

}  // namespace soup
