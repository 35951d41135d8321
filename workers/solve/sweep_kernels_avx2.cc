#include "workers/solve/sweep_kernels.h"

#define QUANTD_SWEEP_TABLE kSweepAvx2
#define QUANTD_SWEEP_NAME "avx2"
#include "workers/solve/sweep_kernels.inc"
