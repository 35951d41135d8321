#include "workers/pack/bits_levels.h"

#if defined(__x86_64__)
#define QUANTD_BITS_LEVEL "avx2"
#define QUANTD_BITS_TABLE Avx2BitKernels
#include "workers/pack/bits_kernels.inc"
#endif
