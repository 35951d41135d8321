// Beam search over the codes of an additive code (AQLM, arXiv 2401.06118, section 3.2).
//
// Out groups are independent. One pass visits every in group once, in a random order that all out
// groups share, and every codebook of it, in a random order; a visit tries all 2^B entries for
// every hypothesis and keeps the `beam` best by the loss tr(D H D^T) of the out group. The entry in
// use is always among the candidates, so the best loss never rises; a sum over the steps as they
// were taken guards this against rounding: an out group that did not gain keeps its codes.
//
// The loss is never computed from scratch inside a pass. With D = W - W' and T = D H, replacing
// u = s C_m[old] by v = s C_m[c] on patch j changes it by
//   2 t.(u - v) + v H_jj v^T - u H_jj u^T,   t = T_j + u H_jj,
// and T is kept for a block of in groups at a time: one product D H[:, block] when the block is
// entered, small updates inside it. Hypotheses of an out group share D outside the current and the
// previous block; those that still differ there from the best one when a block is left are dropped.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "workers/core/cancel.h"
#include "workers/levels/additive.h"
#include "workers/solve/metric.h"

namespace quantd {

// Working memory of one thread.
struct BeamScratch;  // beam_scratch.h

// What one pass does the same for all out groups. Thread-safe once built.
class BeamPass {
 public:
  // `books` [M, 2^B, out_group, in_group] and `metric` outlive it. `seed` decides the order of
  // visits: another one each pass. 1 <= beam <= 64.
  BeamPass(const AdditiveShape& shape, const Metric& metric, const float* books, int beam,
           uint64_t seed);

  // Out groups that should be searched together, for speed.
  int64_t OutGroupsAtOnce() const;

  // The order of visits: in groups [in_groups], and of each in group its codebooks [in_groups, M].
  absl::Span<const int32_t> patch_order() const { return patch_order_; }
  absl::Span<const int32_t> book_order() const { return book_order_; }

  // Improves `codes` [count, in_groups, M] of `count` out groups in place. w [count * out_group, n]
  // are their weights, `scales` [count, scale_columns]. `free` (null: all) marks the patches
  // [count, in_groups] whose codes may change. On return error [count * out_group, n] = W - W' and
  // product [count * out_group, n] = (W - W') H for the codes returned, and loss [count] = tr(D H
  // D^T) of each out group. Stops early when cancelled; codes are then a mixture of old and new.
  //
  // The last product is about half of the work with H. Callers that know the loss of the codes that
  // they give may leave it out: where `product` is null, loss [count] becomes the change of each
  // out group's loss instead, 0 or less.
  void Run(const float* w, const float* scales, const uint8_t* free, int64_t count, uint16_t* codes,
           float* error, float* product, double* loss, BeamScratch* scratch,
           const CancelToken& cancel) const;

 private:
  const AdditiveShape shape_;
  const Metric& metric_;
  const float* const books_;
  const int beam_;
  std::vector<int32_t> patch_order_;  // [in_groups]
  std::vector<int32_t> book_order_;   // [in_groups, M]
  std::vector<float> entries_t_;      // [M, patch, 2^B]
};

// Bytes of a BeamScratch while it searches OutGroupsAtOnce() out groups.
uint64_t BeamBytes(const AdditiveShape& shape, int beam);

}  // namespace quantd
