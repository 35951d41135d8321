// Working memory of one thread that searches a tile of out groups: see beam_tile.h for the terms.
#pragma once

#include <cstdint>
#include <vector>

namespace quantd {

// Stride between rows of a block's arrays. Not a power of two: the same column of many rows would
// fall into few sets of the cache.
inline constexpr int64_t kBeamStride = 144;
// Columns of a block at most.
inline constexpr int64_t kBeamColumns = 128;
// Hypotheses of an out group that are scanned at once, with the bounds of the list before the
// first.
inline constexpr int64_t kBeamScanned = 4;

// One of the best so far of a visit.
struct BeamCandidate {
  double loss;
  int32_t parent;
  int32_t code;
};

struct BeamScratch {
  // The tile.
  std::vector<uint16_t> old_codes;  // [groups, in_groups, M]
  std::vector<double> change;       // [groups] what the search added to the loss
  std::vector<uint8_t> moved;       // [groups]

  // The block entered last and the one before.
  std::vector<float> base[2];    // [rows, kBeamStride] T = D H
  std::vector<float> metric[2];  // [kBeamColumns, kBeamStride] H of the block with itself

  // The block.
  std::vector<float> gathered;   // [kBeamColumns, n + 16] rows of H
  std::vector<float> crossing;   // [kBeamColumns, kBeamStride] H of the block before with it
  std::vector<float> energy;     // [visits, 2^B]: C_m[c] H_jj C_m[c]^T
  std::vector<float> t;          // [rows or hypotheses' rows, kBeamStride]
  std::vector<float> step;       // [rows, kBeamStride] change of D
  std::vector<uint16_t> chosen;  // [groups, visits of a block]

  // One visit.
  std::vector<float> target;    // [groups or hypotheses, patch]
  std::vector<float> entry;     // as target: the numbers that are taken out of W', times s
  std::vector<float> squared;   // [groups] s^2
  std::vector<float> delta;     // as target: change of D on the in group at hand
  std::vector<float> score;     // [groups or kBeamScanned * 2^B]
  std::vector<int32_t> best;    // [groups or kBeamScanned * 2^B]
  std::vector<int32_t> active;  // [groups]

  // Hypotheses, out group after out group.
  std::vector<int32_t> count;       // [groups]
  std::vector<double> loss;         // [groups, beam], ascending; relative to the start
  std::vector<uint16_t> before;     // [groups, beam, visits]: codes in the block before
  std::vector<float> carried;       // as t: their change of D in the block before
  std::vector<float> flip[2];       // [beam * out_group, kBeamStride] t of one out group
  std::vector<uint16_t> codes[2];   // [beam, visits] of one out group
  std::vector<float> deltas[2];     // [beam, patch] of one out group
  std::vector<int32_t> root[2];     // [beam] hypothesis at the block's begin
  std::vector<int32_t> origin[2];   // [beam] hypothesis at the in group's begin
  std::vector<double> losses[2];    // [beam] of one out group
  std::vector<BeamCandidate> kept;  // [beam]
};

}  // namespace quantd
