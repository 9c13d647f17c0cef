// What every Communicator promises, as tests to be instantiated over backends.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>

#include "launch/communicator.hpp"

namespace soup::test {

struct Backend {
  const char* name;
  std::unique_ptr<Communicator> (*make)();  // null: this machine has none
  const char* needs = "";                   // then
};

inline void PrintTo(const Backend& backend, std::ostream* out) {
  *out << backend.name;
}

class Contract : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    comm_ = GetParam().make();
    if (comm_ == nullptr) {
      GTEST_SKIP() << "needs " << GetParam().needs;
    }
    rank_ = comm_->rank();
    size_ = comm_->size();
  }
  // 1 + 2 + ... + size: no rank can be left out unnoticed.
  [[nodiscard]] int triangle() const { return size_ * (size_ + 1) / 2; }

  std::unique_ptr<Communicator> comm_;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace soup::test
