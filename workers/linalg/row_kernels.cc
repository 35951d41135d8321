#include "workers/linalg/row_kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
#include <vector>

#include "workers/core/dtype.h"
#include "workers/core/spec.h"

namespace quantd {
namespace {

// ParamRule carries these as numbers.
static_assert(static_cast<int>(Symmetry::kAsymmetric) == 1);
static_assert(static_cast<int>(Symmetry::kSymmetricMinMax) == 2);
static_assert(static_cast<int>(Symmetry::kSymmetricAbsMax) == 3);
static_assert(static_cast<int>(Symmetry::kSymmetricFullRange) == 4);
static_assert(static_cast<int>(DType::kF32) == 1);
static_assert(static_cast<int>(DType::kF16) == 2);
static_assert(static_cast<int>(DType::kBF16) == 3);

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows this name.
bool HasF16C() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

std::vector<const RowKernels*> FindSupported() {
  std::vector<const RowKernels*> tables = {&kBaselineRowKernels};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16C()) {
    tables.push_back(&kAvx2RowKernels);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      tables.push_back(&kAvx512RowKernels);
    }
  }
#endif
  return tables;
}

std::atomic<const RowKernels*>& Active() {
  static std::atomic<const RowKernels*> active{SupportedRowKernels().back()};
  return active;
}

}  // namespace

absl::Span<const RowKernels* const> SupportedRowKernels() {
  static const auto* tables = new std::vector<const RowKernels*>(FindSupported());
  return *tables;
}

const RowKernels& ActiveRowKernels() { return *Active().load(std::memory_order_relaxed); }

bool SetRowKernelsForTest(absl::string_view name) {
  const auto tables = SupportedRowKernels();
  if (name.empty()) {
    Active() = tables.back();
    return true;
  }
  for (const RowKernels* t : tables) {
    if (name == t->name) {
      Active() = t;
      return true;
    }
  }
  return false;
}

}  // namespace quantd
