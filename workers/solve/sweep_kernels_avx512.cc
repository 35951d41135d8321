#include "workers/solve/sweep_kernels.h"

#define QUANTD_SWEEP_TABLE kSweepAvx512
#define QUANTD_SWEEP_NAME "avx512"
#include "workers/solve/sweep_kernels.inc"
