// One pass of beam search by its definition, in double: every candidate's loss is computed from
// scratch, hypotheses are whole codes. For tiny weights.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/levels/additive.h"

namespace quantd::reference {

struct BeamOrder {
  std::vector<int32_t> in_groups;           // all of them, by time of visit
  std::vector<std::vector<int32_t>> books;  // [in_groups] the codebooks of each, by time of visit
};

// The codes [in_groups, M] of one out group after the pass; w [out_group, n], h [n, n], scales
// [scale_columns]. Nothing is dropped at a block's end. Of equal losses the earlier one wins: old
// codes first, then the lower code.
std::vector<uint16_t> BeamSearchOutGroup(const AdditiveShape& shape,
                                         const std::vector<float>& books, const float* w,
                                         const float* scales, const std::vector<double>& h,
                                         const BeamOrder& order, int beam,
                                         std::vector<uint16_t> codes);

// tr(D H D^T) of one out group.
double OutGroupLoss(const AdditiveShape& shape, const std::vector<float>& books, const float* w,
                    const float* scales, const std::vector<double>& h,
                    const std::vector<uint16_t>& codes);

}  // namespace quantd::reference
