// H = X^T X / T: intake, validation, and the one square of memory it lives in.
//
// The strict upper triangle of the square holds H, in original column order, and is written after
// validation only by a change of basis (Transform). diag(H) lies in a vector beside it. The lower
// triangle with the diagonal is the workspace of the factor: each rung of the damping ladder fills
// it anew from the untouched H, so an n x n Hessian and its factor need 4 n^2 bytes together.
// methods.md C.6 is the recipe followed here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "workers/core/buffer.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"

namespace quantd {

class Hessian {
 public:
  // How `square` is filled at the start; F32, row-major [n, n].
  enum class Given {
    kFull,   // both triangles; must agree within 1e-3 sqrt(H_ii H_jj), the mean of both is kept
    kUpper,  // upper triangle with the diagonal
  };

  // INVALID_ARGUMENT naming `tensor`, the index and the value when an entry is NaN or infinite,
  // when a full H is not symmetric, or when a diagonal entry is below -1e-6 of the largest.
  static absl::StatusOr<Hessian> Create(Buffer square, int64_t n, Given given,
                                        const std::string& tensor, Executor& executor,
                                        const CancelToken& cancel);

  // Another one of the same H. RESOURCE_EXHAUSTED without memory for it; errors of the token.
  absl::StatusOr<Hessian> Copy(Executor& executor, const CancelToken& cancel) const;

  int64_t n() const { return n_; }
  // [n], H_jj; entries of dead columns are 0.
  absl::Span<const float> diagonal() const { return diagonal_; }
  // Columns without input: H_jj at most 1e-12 of the mean diagonal. Their row and column count as
  // 0.
  bool dead(int64_t column) const { return dead_[column] != 0; }
  int64_t dead_columns() const { return dead_count_; }
  // Mean of the diagonal over columns that are not dead; 1 when all are dead.
  double mean_diagonal() const { return mean_diagonal_; }

  // H_ij for i < j is square()[i * n + j]; the rest of the square is workspace.
  const float* square() const { return reinterpret_cast<const float*>(square_.data()); }
  float* square() { return reinterpret_cast<float*>(square_.data()); }

  // Rows [row, row + count) of the full symmetric H, original order, into out [count, n].
  void CopyRows(int64_t row, int64_t count, float* out) const;

  // The blocks H[g, g] of `group` neighbouring columns into out, resized to [ceil(n / group),
  // group, group]; a short last block is filled up with 0.
  void Blocks(int64_t group, std::vector<float>* out) const;

  // Another H in place of this one. `change` finds both triangles and the diagonal of H in `square`
  // [n, n] and leaves the new H there, in the upper triangle with the diagonal at least. Dead
  // columns and the mean diagonal are found anew; factors of the old H are lost.
  //
  // Errors of `change`, those of Create() for an upper triangle, and of the token; H is then
  // undefined.
  absl::Status Transform(const std::function<absl::Status(float* square)>& change,
                         Executor& executor, const CancelToken& cancel);

 private:
  // Checks the upper triangle with the diagonal that `square` holds and fills what lies beside it.
  absl::Status Settle(Executor& executor, const CancelToken& cancel);

  Buffer square_;
  int64_t n_ = 0;
  std::string tensor_;
  std::vector<float> diagonal_;
  std::vector<uint8_t> dead_;
  int64_t dead_count_ = 0;
  double mean_diagonal_ = 1;
};

// What AWQ and SmoothQuant ask of the activations, per column.
struct ChannelStatistics {
  std::vector<float> mean_abs;  // [n], mean |x_j| over the tokens
  std::vector<float> abs_max;   // [n], max |x_j|
};

// Sums X^T X over activations [T, n] that arrive in pieces of any size.
//
// Rows are gathered into blocks of kBlockRows; each block gives a product in F32 that is added to a
// sum in F64. Blocks are counted from the first row, so the result does not depend on how X was
// cut. Memory: 8 n^2 + 4 n kBlockRows bytes.
class HessianAccumulator {
 public:
  static constexpr int64_t kBlockRows = 1024;

  static absl::StatusOr<HessianAccumulator> Create(int64_t n, const std::string& tensor);

  // Before the first value: H = sum_t r_t x_t x_t^T / T with r the `weights` [T] divided by their
  // mean (RSQ, arXiv 2503.01820; r enters linearly, as in its published code). Channel statistics
  // count every token once. INVALID_ARGUMENT naming `tensor`, the index and the value of the first
  // weight that is negative or not finite, or when all are 0.
  absl::Status SetTokenWeights(std::vector<float> weights, const std::string& tensor);

  // Before the first value: gather ChannelStatistics on the way.
  void CollectChannels();

  // The next `count` values of X, row after row; a piece may end inside a row. INVALID_ARGUMENT
  // naming tensor, row and column of the first NaN or infinity, or more rows than token weights.
  absl::Status AddValues(const float* values, int64_t count, Executor& executor,
                         const CancelToken& cancel);

  // Whole rows so far: T.
  int64_t rows() const { return values_ / n_; }

  // X^T X / T as a Hessian; INVALID_ARGUMENT without any row, or with fewer rows than token
  // weights. Of the accumulator only channels() is left.
  absl::StatusOr<Hessian> Finish(Executor& executor, const CancelToken& cancel);

  // After Finish(), if CollectChannels() was called; else empty.
  ChannelStatistics channels() const;

 private:
  void FoldBlock(int64_t rows, Executor& executor, const CancelToken& cancel);
  void FoldChannels(int64_t rows, Executor& executor);
  absl::Status BadTokenCount(int64_t values) const;

  int64_t n_ = 0;
  std::string tensor_;
  Buffer sums_;   // F64 [n, n], upper triangle
  Buffer block_;  // F32 [kBlockRows, n]
  int64_t values_ = 0;
  std::string weights_tensor_;
  std::vector<float> row_factors_;  // [T], sqrt(r_t); empty: all tokens count alike
  std::vector<double> abs_sums_;    // [n], empty: no channel statistics
  std::vector<float> abs_max_;      // [n]
};

}  // namespace quantd
