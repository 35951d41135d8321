#define QUANTD_ROW_KERNELS kAvx512RowKernels
#define QUANTD_ROW_KERNELS_NAME "avx512"
#include "workers/linalg/row_kernels.inc"
