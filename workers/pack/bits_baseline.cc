#include "workers/pack/bits_levels.h"

#define QUANTD_BITS_LEVEL "baseline"
#define QUANTD_BITS_TABLE BaselineBitKernels
#include "workers/pack/bits_kernels.inc"
