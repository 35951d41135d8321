// An easy stand-in for the quadratic form that conjugate gradients over codebooks solve.
//
// The form's block of one entry c of codebook m, coupling between different entries left out, is
//   B = sum over patches (i, j) with code c of s_i^2 H_jj
// for each row of the entry: rows of a patch do not couple, and share it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/levels/additive.h"
#include "workers/solve/metric.h"

namespace quantd {

class CodebookPreconditioner {
 public:
  enum class Kind : uint8_t {
    kNone,      // nothing is changed
    kDiagonal,  // the diagonals of all B
    kBlock,     // all B, factored
  };

  // The most that blocks may take, in bytes.
  static constexpr int64_t kMostBytes = int64_t{64} << 20;

  // kBlock where it fits and says more than the diagonal does.
  static Kind Choose(const AdditiveShape& shape, bool identity);
  static uint64_t Bytes(Kind kind, const AdditiveShape& shape);

  // For the codes and scales of `code`. Errors of the token.
  static absl::StatusOr<CodebookPreconditioner> Create(Kind kind, const AdditiveShape& shape,
                                                       const Metric& metric,
                                                       const AdditiveCode& code, Executor& executor,
                                                       const CancelToken& cancel);

  // out = r with every B solved, both [M, 2^B, out_group, in_group]; 0 for entries without use and
  // for columns without input.
  void Apply(const std::vector<double>& r, Executor& executor, std::vector<double>* out) const;

 private:
  CodebookPreconditioner(Kind kind, const AdditiveShape& shape) : kind_(kind), shape_(shape) {}

  // Numbers of one entry's block, row by row: in_group rows, or the diagonal alone.
  int64_t block_rows() const { return kind_ == Kind::kBlock ? shape_.in_group : 1; }
  double* BlockRow(int64_t book, int64_t row, int64_t entry) {
    return sums_.data() + ((book * block_rows() + row) * shape_.entries + entry) * shape_.in_group;
  }
  const double* BlockRow(int64_t book, int64_t row, int64_t entry) const {
    return const_cast<CodebookPreconditioner*>(this)->BlockRow(book, row, entry);
  }
  void Sum(const Metric& metric, const AdditiveCode& code, int64_t book, int64_t row,
           const CancelToken& cancel);
  void Invert(int64_t book, int64_t entry);
  void Factor(int64_t book, int64_t entry);
  void Solve(int64_t book, int64_t entry, const double* r, double* out) const;

  Kind kind_;
  AdditiveShape shape_;
  // [M, block_rows, 2^B, in_group]. kDiagonal: 1 / diagonal. kBlock: the lower Cholesky factors,
  // with 1 / L_kk in place of L_kk. 0 in place of both where there is no curvature.
  std::vector<double> sums_;
};

}  // namespace quantd
