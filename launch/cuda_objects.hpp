// CUDA's streams, events and buffers as objects that free themselves; calls throw CommError.
#pragma once

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "core/error.hpp"
#include "core/process_identity.hpp"

namespace soup {

inline void check_cuda(cudaError_t code, std::string_view call) {
  if (code != cudaSuccess) {
    throw CommError(call, fmt::format("{} on host {}", cudaGetErrorString(code), host_name()));
  }
}

class CudaStream {
 public:
  // Runs beside the legacy default stream.
  CudaStream() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~CudaStream() { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  [[nodiscard]] cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaEvent {
 public:
  CudaEvent() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate"); }
  ~CudaEvent() { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  // What is queued on `stream` from here on waits for it.
  void hold(cudaStream_t stream) const { check_cuda(cudaStreamWaitEvent(stream, event_), "cudaStreamWaitEvent"); }
  [[nodiscard]] bool is_reached() const {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) {
      return false;
    }
    check_cuda(state, "cudaEventQuery");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class GpuBuffer {
 public:
  explicit GpuBuffer(std::size_t bytes) : bytes_(bytes) { check_cuda(cudaMalloc(&data_, bytes), "cudaMalloc"); }
  ~GpuBuffer() { cudaFree(data_); }
  GpuBuffer(const GpuBuffer&) = delete;
  GpuBuffer& operator=(const GpuBuffer&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_), bytes_}; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

class PageLockedBuffer {
 public:
  explicit PageLockedBuffer(std::size_t bytes) : bytes_(bytes) {
    check_cuda(cudaMallocHost(&data_, bytes), "cudaMallocHost");
  }
  ~PageLockedBuffer() { cudaFreeHost(data_); }
  PageLockedBuffer(const PageLockedBuffer&) = delete;
  PageLockedBuffer& operator=(const PageLockedBuffer&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_), bytes_}; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

}  // namespace soup
