// The inner loops over one row of a weight, compiled once per CPU level and picked at run time.
//
// All tables give the same bits: the arithmetic is plain F32 (or double where said) without fused
// multiply-add on inexact products, reductions run over 16 lanes (element index mod 16) joined by
// the same pairwise tree, and rounding is half to even. No pointer needs alignment. Inputs and
// outputs must not overlap. "Row of n columns in groups of g" means groups of g consecutive
// columns, the last one possibly shorter: ceil(n / g) groups, each with its own entry in the
// per-group arrays.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/linalg/row_kernel_table.h"

namespace quantd {

// The fastest table that this CPU runs.
const RowKernels& ActiveRowKernels();

// Every table that this CPU runs, slowest first.
absl::Span<const RowKernels* const> SupportedRowKernels();

// Makes ActiveRowKernels() return the named table, "" the fastest again; false if this CPU does not
// run it. For tests and benchmarks: not while other threads work.
bool SetRowKernelsForTest(absl::string_view name);

}  // namespace quantd
