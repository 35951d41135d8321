// What solving a weight takes, from shapes and spec alone: stripes, flops, bytes.
#pragma once

#include <cstdint>

#include "workers/core/spec.h"

namespace quantd {

struct Stripes {
  int64_t solve_rows = 0;    // rows that are solved together
  int64_t measure_rows = 0;  // rows that are unpacked and measured together; divides solve_rows
};

// Stripes of an m x n weight. `granule`: Layout::StripeGranule. `with_hessian`: output errors are
// measured, too.
Stripes PlanStripes(const Spec& spec, int64_t m, int64_t n, int64_t granule, bool with_hessian);

// Flops for one m x n weight, and once per layer group, beyond what the measures cost.
// `with_hessian`: the group has H.
double WeightFlops(const Spec& spec, int64_t m, int64_t n, bool with_hessian);
double GroupFlops(const Spec& spec, int64_t n);

// Bytes of a thread's SolveScratch: while it solves `solve_rows` rows, and while it measures
// `measure_rows`.
uint64_t SolveBytes(const Spec& spec, int64_t solve_rows, int64_t n);
uint64_t MeasureBytes(const Spec& spec, int64_t measure_rows, int64_t n, bool with_hessian);
// Bytes of a thread while a weight is solved as a whole, before its first stripe.
uint64_t WholeSolveBytes(const Spec& spec, int64_t m, int64_t n);
// Bytes that a group holds beside H while its weights are solved, and that one weight does.
uint64_t GroupBytes(const Spec& spec, int64_t n);
uint64_t WeightBytes(const Spec& spec, int64_t m, int64_t n, bool with_hessian);
// Bytes of a CodedShared, where they are more than a row's; and of one weight's part of a state of
// the job (SolveWatch::OnState) at most, 0 for solvers that have none.
uint64_t SharedBytes(const Spec& spec);
uint64_t StateBytes(const Spec& spec, int64_t m, int64_t n);

}  // namespace quantd
