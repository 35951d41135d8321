// The tables that bits.cc chooses from. Included by files that are compiled for wide CPUs: nothing
// but fixed-width integers may come in here.
#pragma once

#include <cstdint>

namespace quantd {

// One level of the instruction set; see bits.h for what the functions do.
struct BitKernels {
  const char* level;
  void (*pack)(const uint8_t* codes, int64_t count, int bits, uint8_t* out);
  void (*unpack)(const uint8_t* in, int64_t count, int bits, uint8_t* codes);
  void (*transpose)(const uint8_t* in, int64_t in_stride, int64_t rows, int64_t cols, uint8_t* out,
                    int64_t out_stride);
};

const BitKernels* BaselineBitKernels();
#if defined(__x86_64__)
const BitKernels* Avx2BitKernels();
#endif

}  // namespace quantd
