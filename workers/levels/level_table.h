// Level sets that are the same for every group: minifloats, NF4, FP4 and the cluster levels. A
// level times the group's scale is the weight.
#pragma once

#include <array>
#include <cstdint>

#include "workers/core/spec.h"

namespace quantd {

struct LevelTable {
  LevelKind kind = LevelKind::kFixedTable;
  NumberFormat format = NumberFormat::kUnspecified;  // minifloat only
  int bits = 0;                                      // of one code
  int count = 0;                                     // distinct finite levels, ascending
  std::array<float, 256> level{};                    // [count]
  // [count - 1] x belongs above bound i exactly if x > bound[i]: ties are folded in.
  std::array<float, 256> bound{};
  std::array<uint8_t, 256> code{};  // [count] the code of each level; of two zeros the positive one
  std::array<float, 256> value{};   // by code, repeating above 2^bits; NaN and infinity included
  float largest = 0.0f;             // magnitude: a scale is max|w| / largest
};

// For kMinifloat, kFixedTable and kCluster (others: the NF4 table). Built once; NF4, FP4:
// bitsandbytes' values; its bounds are the midpoints, and x moves up (FP4: away from 0) strictly
// above them. Minifloats: nearest, ties to even. Cluster: the union of both modes (see cluster.h).
const LevelTable& TableOf(const Levels& levels);

// The code of the nearest level of x, the array version's results. Not for clusters, whose levels
// depend on their neighbours. A NaN gets code 0 (NF4: the lowest level). Minifloats keep the sign
// of zero.
uint8_t NearestCode(const LevelTable& table, float x);

// `count` weights with scales of their own: x = w * inverse[i] (inverse = 1 / scale), codes[i] the
// nearest level's, decoded[i] = level * scale[i]. Not for clusters. Nothing may overlap, except
// that `decoded` may be `w`.
void RoundTableLanes(const LevelTable& table, const float* w, int64_t count, const float* scale,
                     const float* inverse, uint8_t* codes, float* decoded);

}  // namespace quantd
