#include "workers/linalg/entry_scan.h"

#include <vector>

namespace quantd {

absl::Span<const EntryScanKernels* const> SupportedEntryScans() {
  static const std::vector<const EntryScanKernels*>& tables = *[] {
    auto* found = new std::vector<const EntryScanKernels*>{&kEntryScanBaseline};
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2) found->push_back(&kEntryScanAvx2);
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      found->push_back(&kEntryScanAvx512);
    }
#endif
    return found;
  }();
  return tables;
}

const EntryScanKernels& ActiveEntryScan() {
  static const EntryScanKernels& best = *SupportedEntryScans().back();
  return best;
}

}  // namespace quantd
