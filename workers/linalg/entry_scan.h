// Which codebook entry is best for a target: the inner loop of vector k-means and of beam search.
//
// For a target t [dim] and a factor s the score of entry c is  s * q[c] - 2 * sum_i t[i] C[c][i].
// Scores are F32: s * q[c] first, then for i = 0, 1, ... one fused multiply-add with -2 t[i]; all
// CPU levels give the same bits. Entries lie transposed: entries_t [dim][count].
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "workers/linalg/entry_scan_table.h"

namespace quantd {

// The fastest table that this CPU runs.
const EntryScanKernels& ActiveEntryScan();

// Every table that this CPU runs, slowest first.
absl::Span<const EntryScanKernels* const> SupportedEntryScans();

}  // namespace quantd
