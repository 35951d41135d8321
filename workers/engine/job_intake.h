// Everything a job uploads, from its declarations to what a layer group is prepared from.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/compose/group_solver.h"
#include "workers/core/buffer.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/job.h"
#include "workers/engine/check.h"
#include "workers/engine/intake.h"
#include "workers/levels/additive.h"

namespace quantd {

// Weights, FISHER, GRADIENT and CHECKPOINT stay as they came; H is folded while chunks arrive;
// CODES become indices; the rest becomes F32.
class JobIntake {
 public:
  // `spec` says what shape given codes have. All arguments outlive it.
  JobIntake(const std::vector<TensorDecl>& tensors, const Spec& spec, const QuantizeShape& shape)
      : tensors_(tensors), spec_(spec), shape_(shape) {}

  // Allocates what the upload lands in.
  absl::Status Begin();

  // The next bytes of tensor `index`. INVALID_ARGUMENT for activations that come before their token
  // weights, and for NaN and infinity in activations.
  absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes,
                     Executor& executor, const CancelToken& cancel);

  // The CHECKPOINT as it came; empty without. Complete after the last Write; lives as long as this.
  absl::string_view checkpoint() const;

  // Checks statistics and given codes and hands out views; call once, after the last Write. Errors
  // name the tensor, the index and the value.
  absl::StatusOr<GroupInputs> Finish(Executor& executor, const CancelToken& cancel);

  // Rows of X seen, 0 for a given H.
  int64_t tokens() const { return tokens_; }

  // Frees what belongs to weight `w` of the shape.
  void Release(int w);

 private:
  static bool StaysRaw(Role role);
  // null unless the weight's codebooks are given. Frees what it is made from.
  absl::StatusOr<std::unique_ptr<AdditiveCode>> TakeGiven(size_t w, Executor& executor,
                                                          const CancelToken& cancel);
  absl::Status CheckImportance(int index, Executor& executor, const CancelToken& cancel) const;
  WeightView ViewOf(int index) const;

  const std::vector<TensorDecl>& tensors_;
  const Spec& spec_;
  const QuantizeShape& shape_;
  std::vector<Buffer> raw_;                           // by tensor index
  std::vector<std::unique_ptr<FloatIntake>> floats_;  // by tensor index
  std::vector<std::unique_ptr<AdditiveCode>> given_;  // by weight
  std::unique_ptr<HessianIntake> statistics_;
  std::unique_ptr<Hessian> hessian_;
  bool activations_begun_ = false;
  int64_t tokens_ = 0;
};

}  // namespace quantd
