#include "workers/solve/sweep_kernels.h"

#define QUANTD_SWEEP_TABLE kSweepBaseline
#define QUANTD_SWEEP_NAME "baseline"
#include "workers/solve/sweep_kernels.inc"
