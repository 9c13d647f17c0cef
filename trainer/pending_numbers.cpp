// Numbers computed on a GPU, to be read later.
#include "trainer/pending_numbers.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace soup {

PendingNumbers::PendingNumbers(const std::vector<at::Tensor>& numbers) {
  const at::Tensor together = at::stack(numbers);
  const at::Device device = together.device();
  if (device.is_cpu()) {
    values_ = together;
    return;
  }
  values_ = at::empty(together.sizes(), at::TensorOptions().dtype(at::kDouble).pinned_memory(true));
  values_.copy_(together, /*non_blocking=*/true);
  done_ = std::make_unique<c10::Event>(device.type());
  done_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

std::vector<double> PendingNumbers::wait() const {
  if (done_) {
    done_->synchronize();
  }
  const auto* begin = values_.const_data_ptr<double>();
  return {begin, begin + values_.numel()};
}

}  // namespace soup
