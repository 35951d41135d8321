// States of jobs and of solves from arbitrary bytes. Nothing crashes or runs for ever, and a solve
// that takes a state up either refuses it or ends with numbers that can be stored.
//
// Input: one byte that picks the problem (state_problem.h), then the bytes of a state.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/fuzz/state_problem.h"
#include "workers/engine/job_state.h"
#include "workers/linalg/blas.h"
#include "workers/solve/additive.h"

namespace quantd {
namespace {

void Check(bool ok) {
  if (!ok) std::abort();
}

void CheckJobState(absl::string_view bytes) {
  JobState state(Digest(), 2);
  const absl::Status status = state.Load(bytes);
  if (!status.ok()) {
    Check(!status.message().empty());
    return;
  }
  Check(state.Compose() == bytes);
}

void CheckSolveState(uint8_t variant, absl::string_view bytes) {
  const StateProblem problem(variant);
  InlineExecutor executor;
  CancelToken cancel;
  std::optional<Hessian> hessian;
  if (problem.with_hessian()) {
    absl::StatusOr<Buffer> square = Buffer::Allocate(problem.hessian().size() * sizeof(float));
    Check(square.ok());
    std::copy(problem.hessian().begin(), problem.hessian().end(), square->As<float>().begin());
    absl::StatusOr<Hessian> made = Hessian::Create(*std::move(square), StateProblem::kColumns,
                                                   Hessian::Given::kFull, "H", executor, cancel);
    Check(made.ok());
    hessian.emplace(*std::move(made));
  }
  const Metric metric = hessian.has_value() ? Metric::Of(&*hessian, executor)
                                            : Metric::Identity(StateProblem::kColumns);
  const absl::StatusOr<AdditiveCode> code = SolveAdditive({.spec = &problem.spec(),
                                                           .weight = problem.weight(),
                                                           .metric = &metric,
                                                           .given = problem.given(),
                                                           .state = bytes},
                                                          executor, cancel, nullptr);
  if (!code.ok()) {
    Check(!code.status().message().empty());
    return;
  }
  for (const float v : code->books) Check(std::isfinite(v));
  for (const float v : code->scales) Check(std::isfinite(v));
}

}  // namespace
}  // namespace quantd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = quantd::InitBlas().ok();
  if (!ready) std::abort();
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  quantd::CheckJobState(bytes);
  quantd::CheckSolveState(data[0], bytes);
  return 0;
}
