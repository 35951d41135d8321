// The small solves whose states the state fuzzer takes up again.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/spec.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

// 24 x 16 weights; variant bits: 1 = H instead of the identity, 2 = a scale table for the patches
// of each row, 4 = patches of two rows, 8 = Adam, 16 = given codebooks. Others do not count.
class StateProblem {
 public:
  static constexpr int64_t kRows = 24;
  static constexpr int64_t kColumns = 16;

  explicit StateProblem(uint8_t variant);

  bool with_hessian() const { return (variant_ & 1) != 0; }
  const Spec& spec() const { return spec_; }
  WeightView weight() const {
    return {DType::kF32, reinterpret_cast<const std::byte*>(weights_.data()), kRows, kColumns};
  }
  // [kColumns, kColumns], positive definite.
  const std::vector<float>& hessian() const { return hessian_; }
  const AdditiveCode* given() const { return (variant_ & 16) != 0 ? &given_ : nullptr; }

 private:
  uint8_t variant_;
  Spec spec_;
  std::vector<float> weights_, hessian_;
  AdditiveCode given_;
};

}  // namespace quantd
