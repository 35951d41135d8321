#define QUANTD_ROW_KERNELS kAvx2RowKernels
#define QUANTD_ROW_KERNELS_NAME "avx2"
#include "workers/linalg/row_kernels.inc"
