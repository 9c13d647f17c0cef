// Numbers computed on a GPU, to be read later: who reads them then waits for their computation alone, not for what was
// queued behind it.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <memory>
#include <vector>

namespace soup {

class PendingNumbers {
 public:
  // Tensors of one double each, on one device.
  explicit PendingNumbers(const std::vector<at::Tensor>& numbers);
  // The numbers, in order.
  [[nodiscard]] std::vector<double> wait() const;

 private:
  at::Tensor values_;                 // double [n] in memory, page-locked where they come from a GPU
  std::unique_ptr<c10::Event> done_;  // when they have come; null where they were there from the start
};

}  // namespace soup
