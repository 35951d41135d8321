// The best scales for given codes and codebooks: the loss of an out group is quadratic in them.
//
// With D = w - s r (r the decoded rows before their scale) and T = D H
//   one scale:    loss(s') = D.T - 2 (s' - s) r.T + (s' - s)^2 r H r^T,  s r H r^T = r.(w H) - r.T
//   many scales:  -1/2 dloss/ds_j = r_j.T_j over patch j, curvature r_j H_jk r_k^T
// so one scale needs no product beyond T, and many are found by conjugate gradients, one product a
// step, every out group for itself.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/cancel.h"
#include "workers/solve/codebook_gradient.h"

namespace quantd {

// The loss of one out group as a function of its one scale.
struct ScaleParabola {
  double at = 0;         // the scale that it was taken at
  double loss = 0;       // there
  double slope = 0;      // -1/2 of the derivative there
  double curvature = 0;  // r H r^T; 0 where F32 products cannot tell it from 0

  double Loss(double scale) const {
    const double step = scale - at;
    return loss - 2 * step * slope + step * step * curvature;
  }
  // `now`, or the scale with the least loss where that is less. `round_to_f16`: both as numbers of
  // F16; the one nearest to the minimum of a parabola is the best of them.
  float Best(float now, bool round_to_f16) const;
};

// The nearest finite number of F16.
float NearestF16(float value);

// A scale to take the parabola at: `scale`, or, where that is 0, one of the right size.
// w and r have `count` numbers.
float NonzeroScale(float scale, const float* w, const float* r, int64_t count);

// From the `count` numbers of an out group: r, D = w - at r, T = D H and w H.
ScaleParabola ParabolaOf(double at, const float* unscaled, const float* error, const float* product,
                         const float* weight_product, int64_t count);

// D and T of an out group after its scale went from `at` to `scale`. T = D H stays exact but for
// rounding: it is linear in the scale, and w H is its value at 0. With the identity, `product` is
// null and only D is written, from `w`.
void MoveScale(double at, float scale, const float* w, const float* unscaled,
               const float* weight_product, int64_t count, float* error, float* product);

// Many scales of the out groups of a tile.
struct ManyScales {
  const float* unscaled = nullptr;       // [count * out_group, n]
  float* error = nullptr;                // D; moves along
  float* product = nullptr;              // D H; moves along. The identity: the same as `error`
  float* direction = nullptr;            // workspace, as large
  float* direction_product = nullptr;    // workspace, as large; not for the identity
  const uint8_t* scale_codes = nullptr;  // [count, in groups] with tables, else null
};

// Up to `steps` steps of conjugate gradients, preconditioned by the curvature of each number, over
// `parameters` [count, scale_parameters]: scales, or entries of tables. No step raises the loss of
// an out group. Stops early when cancelled.
void FitManyScales(const CodebookProblem& problem, const CodebookTiles::Tile& tile, int steps,
                   const ManyScales& arrays, const CancelToken& cancel, float* parameters);

// out [count, scale_parameters] = -1/2 dloss / dparameter, from r and T of a tile.
void ScaleGradient(const CodebookProblem& problem, const CodebookTiles::Tile& tile,
                   const float* unscaled, const float* product, const uint8_t* scale_codes,
                   double* out);

}  // namespace quantd
