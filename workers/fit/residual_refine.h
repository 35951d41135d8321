// Refinement of a codebook by what H says of each patch (arXiv 2604.08118). Private to fit/.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/fit/residual_points.h"
#include "workers/fit/vector_kmeans.h"
#include "workers/levels/additive.h"

namespace quantd {

// [in_groups, in_group, in_group]: the H_jj with 1 % of the mean diagonal of all of them added to
// their diagonals, so that inputs that never fire still choose sensible entries; identities where
// all diagonals are 0. Symmetric: the mean of H_jj and its transpose.
std::vector<float> DampedBlocks(const AdditiveShape& shape, const float* hessian_blocks);

// sums [entries, in_group^2 + patch]: of H_jj over the points of each center, then of w H_jj. A
// point belongs to the center that is nearest by (w - c) H_jj (w - c)^T, or by |w - c|^2 where
// `plain`. Empty when cancelled.
std::vector<double> RefineSums(const AdditiveShape& shape, const ResidualPoints& points,
                               const std::vector<float>& blocks, const CenterIndex& centers,
                               bool plain, Executor& executor, const CancelToken& cancel);

// 100 steps of Adam (betas 0.9 and 0.95, learning rate 1e-4 with cosine decay to a tenth) on
// sum (w - c) H_jj (w - c)^T for points that stay with their centers [entries, patch]. A center
// whose own sum would not be lower for it stays. Returns early when cancelled.
void AdamOnCenters(const AdditiveShape& shape, const std::vector<double>& sums, Executor& executor,
                   const CancelToken& cancel, std::vector<float>* centers);

// codes[p * codebooks] for all points p: the center that is nearest by (w - c) H_jj (w - c)^T.
// Returns early when cancelled.
void AssignByBlocks(const AdditiveShape& shape, const ResidualPoints& points,
                    const std::vector<float>& blocks, const CenterIndex& centers,
                    Executor& executor, const CancelToken& cancel, uint16_t* codes);

}  // namespace quantd
