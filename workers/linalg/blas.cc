#include "workers/linalg/blas.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace quantd {
namespace {

// CBLAS enumerations, as every implementation defines them.
enum CblasOrder { kRowMajor = 101 };
enum CblasTranspose { kNoTrans = 111, kTrans = 112 };
enum CblasUplo { kUpper = 121, kLower = 122 };
enum CblasDiag { kNonUnit = 131 };
enum CblasSide { kLeft = 141, kRight = 142 };

struct Library {
  void (*sgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                float*, int);
  void (*ssyrk)(int, int, int, int, int, float, const float*, int, float, float*, int);
  void (*strsm)(int, int, int, int, int, int, int, float, const float*, int, float*, int);
  void (*strmm)(int, int, int, int, int, int, int, float, const float*, int, float*, int);
  void (*spotrf)(const char*, const int*, float*, const int*, int*, size_t);
  void (*strtri)(const char*, const char*, const int*, float*, const int*, int*, size_t, size_t);
  void (*set_num_threads)(int);
  char* (*get_config)();
  char* (*get_corename)();
};

absl::Mutex init_mutex;
bool initialized ABSL_GUARDED_BY(init_mutex) = false;
Library library;  // written once under init_mutex, before InitBlas() first returns OK

// The kernel OpenBLAS 0.3.21 should run here, or null to leave the choice to it.
const char* KernelForThisCpu() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return "SkylakeX";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
  return nullptr;
}

template <typename F>
bool Resolve(void* handle, const char* symbol, F* function) {
  *function = reinterpret_cast<F>(dlsym(handle, symbol));
  return *function != nullptr;
}

absl::Status Load() {
  if (std::getenv("OPENBLAS_CORETYPE") == nullptr) {
    if (const char* kernel = KernelForThisCpu()) setenv("OPENBLAS_CORETYPE", kernel, 0);
  }
  // Without this the library starts a thread per core that we never use.
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  void* handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "libopenblas.so.0 cannot be loaded (", dlerror(), "); install libopenblas0-pthread"));
  }
  Library& l = library;
  const bool complete =
      Resolve(handle, "cblas_sgemm", &l.sgemm) && Resolve(handle, "cblas_ssyrk", &l.ssyrk) &&
      Resolve(handle, "cblas_strsm", &l.strsm) && Resolve(handle, "cblas_strmm", &l.strmm) &&
      Resolve(handle, "spotrf_", &l.spotrf) && Resolve(handle, "strtri_", &l.strtri) &&
      Resolve(handle, "openblas_set_num_threads", &l.set_num_threads) &&
      Resolve(handle, "openblas_get_config", &l.get_config) &&
      Resolve(handle, "openblas_get_corename", &l.get_corename);
  if (!complete) {
    return absl::FailedPreconditionError(
        absl::StrCat("libopenblas.so.0 lacks a function: ", dlerror()));
  }
  l.set_num_threads(1);
  return absl::OkStatus();
}

// A kernel chosen by name may be wrong for the CPU it runs on; a product of integers must be exact.
absl::Status SelfTest() {
  constexpr int kSize = 67;  // no multiple of any tile
  std::vector<float> a(kSize * kSize), b(kSize * kSize), c(kSize * kSize);
  for (int i = 0; i < kSize * kSize; ++i) {
    a[i] = static_cast<float>(i * 7 % 11 - 5);
    b[i] = static_cast<float>(i * 5 % 13 - 6);
  }
  library.sgemm(kRowMajor, kNoTrans, kNoTrans, kSize, kSize, kSize, 1.0f, a.data(), kSize, b.data(),
                kSize, 0.0f, c.data(), kSize);
  for (int i = 0; i < kSize; ++i) {
    for (int j = 0; j < kSize; ++j) {
      float sum = 0;
      for (int k = 0; k < kSize; ++k) sum += a[i * kSize + k] * b[k * kSize + j];
      if (sum != c[i * kSize + j]) {
        return absl::FailedPreconditionError(
            absl::StrCat("OpenBLAS kernel ", library.get_corename(),
                         " gives wrong products on this CPU; set OPENBLAS_CORETYPE to another"));
      }
    }
  }
  return absl::OkStatus();
}

int Int(int64_t v) { return static_cast<int>(v); }

}  // namespace

absl::Status InitBlas() {
  absl::MutexLock lock(&init_mutex);
  if (initialized) return absl::OkStatus();
  absl::Status status = Load();
  if (status.ok()) status = SelfTest();
  initialized = status.ok();
  return status;
}

std::string BlasDescription() {
  absl::MutexLock lock(&init_mutex);
  if (!initialized) return "OpenBLAS not loaded";
  // The configuration string begins with "OpenBLAS <version> ".
  const std::string config = library.get_config();
  const size_t first = config.find(' ');
  const size_t second = first == std::string::npos ? first : config.find(' ', first + 1);
  return absl::StrCat(config.substr(0, second), ", ", library.get_corename());
}

void Gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
          int64_t ldc) {
  library.sgemm(kRowMajor, transpose_a ? kTrans : kNoTrans, transpose_b ? kTrans : kNoTrans, Int(m),
                Int(n), Int(k), alpha, a, Int(lda), b, Int(ldb), beta, c, Int(ldc));
}

void SyrkLower(int64_t n, int64_t k, float alpha, const float* a, int64_t lda, float* c,
               int64_t ldc) {
  library.ssyrk(kRowMajor, kLower, kNoTrans, Int(n), Int(k), alpha, a, Int(lda), 1.0f, c, Int(ldc));
}

void SolveRightLowerTransposed(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                               int64_t ldb) {
  library.strsm(kRowMajor, kRight, kLower, kTrans, kNonUnit, Int(m), Int(n), 1.0f, l, Int(ldl), b,
                Int(ldb));
}

void MultiplyLeftLowerTransposed(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                                 int64_t ldb) {
  library.strmm(kRowMajor, kLeft, kLower, kTrans, kNonUnit, Int(m), Int(n), 1.0f, l, Int(ldl), b,
                Int(ldb));
}

void SolveLeftLowerTransposed(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                              int64_t ldb) {
  library.strsm(kRowMajor, kLeft, kLower, kTrans, kNonUnit, Int(m), Int(n), 1.0f, l, Int(ldl), b,
                Int(ldb));
}

void MultiplyLeftLower(int64_t m, int64_t n, const float* l, int64_t ldl, float* b, int64_t ldb) {
  library.strmm(kRowMajor, kLeft, kLower, kNoTrans, kNonUnit, Int(m), Int(n), 1.0f, l, Int(ldl), b,
                Int(ldb));
}

void NegateSolveRightLower(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                           int64_t ldb) {
  library.strsm(kRowMajor, kRight, kLower, kNoTrans, kNonUnit, Int(m), Int(n), -1.0f, l, Int(ldl),
                b, Int(ldb));
}

bool CholeskyBlockLower(int64_t n, float* a, int64_t lda) {
  // A row-major lower triangle is a column-major upper one.
  const int size = Int(n), ld = Int(lda);
  int info = 0;
  library.spotrf("U", &size, a, &ld, &info, 1);
  if (info != 0) return false;
  for (int64_t i = 0; i < n; ++i) {
    // Cholesky may pass a NaN on without saying so.
    const float pivot = a[i * lda + i];
    if (!(pivot > 0.0f) || !std::isfinite(pivot)) return false;
  }
  return true;
}

void InvertBlockLower(int64_t n, float* l, int64_t ldl) {
  const int size = Int(n), ld = Int(ldl);
  int info = 0;
  library.strtri("U", "N", &size, l, &ld, &info, 1, 1);
}

}  // namespace quantd
