// The functions of entry_scan.h and their tables, apart from anything inline: this header is also
// read by files that are compiled for one CPU level.
#pragma once

#include <cstdint>

namespace quantd {

// Numbers that minima() gives.
inline constexpr int64_t kScanLanes = 64;

struct EntryScanKernels {
  const char* name;

  // For each of `rows` targets [rows, dim] with factors s [rows] (null: all 1): best[r] = the entry
  // with the least score, score[r] = that score. An entry replaces best[r] as it was on entry only
  // if its score is strictly less than that one's; best[r] < 0 on entry: none. Among new ones the
  // lowest index wins. On return best[r] is an entry, 0 where no score is below infinity.
  void (*best)(const float* entries_t, const float* q, int64_t count, int64_t dim,
               const float* targets, const float* s, int64_t rows, int32_t* best, float* score);

  // All entries of one target whose score is strictly below `bound`, by index: their indices and
  // scores to `index` and `score` (room for count); returns how many.
  int64_t (*below)(const float* entries_t, const float* q, int64_t count, int64_t dim,
                   const float* target, float s, float bound, int32_t* index, float* score);

  // The same for `rows` targets [rows, dim] that share s, each with a bound of its own [rows]:
  // index and score are [rows, count], found [rows].
  void (*below_each)(const float* entries_t, const float* q, int64_t count, int64_t dim,
                     const float* targets, float s, const float* bounds, int64_t rows,
                     int32_t* index, float* score, int64_t* found);

  // least[l] = the least score of the entries l, l + kScanLanes, l + 2 kScanLanes, ... of whole
  // runs of kScanLanes entries; infinity where there is none.
  void (*minima)(const float* entries_t, const float* q, int64_t count, int64_t dim,
                 const float* target, float s, float* least);

  // The score of one entry, with the bits that the scans see.
  float (*score)(const float* entries_t, const float* q, int64_t count, int64_t dim,
                 const float* target, float s, int64_t entry);

  // q[c] = sum over rows a < out of C[c][a] H C[c][a]^T, where entries are patches [out, in] and H
  // [in, in], rows `ldh` apart, is symmetric: its upper triangle is read. F32, row by row and in
  // each from the first column on: y = H_bb C_b, y += 2 H_bb' C_b' for b' > b, q += y C_b, all
  // fused but the first product.
  void (*energy)(const float* entries_t, int64_t count, int64_t out, int64_t in, const float* h,
                 int64_t ldh, float* q);

  // t [rows, in] += u [rows, in] H, H as above but read in full: for i = 0, 1, ... one fused
  // multiply-add with u[i].
  void (*add_product)(const float* u, const float* h, int64_t ldh, int64_t rows, int64_t in,
                      float* t);
};

// `in` of energy() at most.
inline constexpr int64_t kMaxScanBlock = 64;

// One table for each CPU level of this build.
extern const EntryScanKernels kEntryScanBaseline;
#if defined(__x86_64__)
extern const EntryScanKernels kEntryScanAvx2;
extern const EntryScanKernels kEntryScanAvx512;
#endif

}  // namespace quantd
