#include "server/lifecycle/malloc_tuning.h"

#include <malloc.h>

namespace quantd {

void TuneMalloc() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest value glibc accepts
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

}  // namespace quantd
