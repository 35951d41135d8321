#include "workers/solve/rtn.h"

#include <vector>

#include "workers/levels/affine.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

// One row whose columns name their groups.
void RoundScattered(const float* w, const float* scales, const uint8_t* zeros, const Coded& coded,
                    uint8_t* codes) {
  for (int64_t j = 0; j < coded.cols; ++j) {
    const int32_t g = coded.group_of_column[j];
    codes[j] = EncodeAffine(coded.levels, MakeAffineParams(scales[g], zeros[g]), w[j]);
  }
}

}  // namespace

void RoundRows(const float* w, Coded* io) {
  const RowKernels& kernels = ActiveRowKernels();
  const float max_code = static_cast<float>(io->levels.max_code());
  std::vector<float> inverse(io->groups), zero(io->groups);
  for (int64_t r = 0; r < io->rows; ++r) {
    const float* row = w + r * io->cols;
    const float* scales = io->scales.data() + r * io->groups;
    const uint8_t* zeros = io->zeros.data() + r * io->groups;
    uint8_t* codes = io->codes.data() + r * io->cols;
    if (!io->group_of_column.empty()) {
      RoundScattered(row, scales, zeros, *io, codes);
      continue;
    }
    for (int64_t g = 0; g < io->groups; ++g) {
      inverse[g] = 1.0f / scales[g];
      zero[g] = static_cast<float>(zeros[g]);
    }
    kernels.round(row, io->cols, io->group_columns, inverse.data(), zero.data(), max_code, codes);
  }
}

}  // namespace quantd
