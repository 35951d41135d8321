// The points of a residual k-means, read from the weight when they are needed. Private to fit/.
#pragma once

#include <cstdint>

#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

// Patches of W / s without the entries that the first `book` codebooks have chosen, numbered
// row-major over (out group, in group); a point is [out_group, in_group]. F32: the quotient, then
// one subtraction for each codebook in turn. Views outlive it; thread-safe.
class ResidualPoints {
 public:
  // `code` holds all scales, and codes and books of the first `book` codebooks.
  ResidualPoints(const AdditiveShape& shape, const WeightView& weight, const AdditiveCode& code,
                 int64_t book)
      : shape_(shape), weight_(weight), code_(code), book_(book) {}

  int64_t count() const { return shape_.out_groups() * shape_.in_groups(); }

  // Points [begin, begin + rows) to out [rows, patch].
  void Read(int64_t begin, int64_t rows, float* out) const;
  // Points chosen[0 .. rows), ascending, to out [rows, patch].
  void ReadChosen(const int64_t* chosen, int64_t rows, float* out) const;
  // Points of one out group: in groups [in_group, in_group + count) to out [count, patch].
  void ReadBand(int64_t out_group, int64_t in_group, int64_t count, float* out) const;

 private:
  void ReadWeights(int64_t out_group, int64_t in_group, int64_t count, float* out) const;

  const AdditiveShape& shape_;
  const WeightView& weight_;
  const AdditiveCode& code_;
  int64_t book_;
};

}  // namespace quantd
