#define QUANTD_ROW_KERNELS kBaselineRowKernels
#define QUANTD_ROW_KERNELS_NAME "baseline"
#include "workers/linalg/row_kernels.inc"
