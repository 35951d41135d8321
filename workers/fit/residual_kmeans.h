// The start of an additive code: scales from norms, then one k-means after the other, each over
// what the ones before left (AQLM, arXiv 2401.06118, section 3.1).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/spec.h"
#include "workers/core/state_bytes.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

// A residual k-means that can be left after any step and taken up again.
//
// scale = |W_i| + 1e-9 over the out group (Granularity::kRow) or the patch (kGroup), rounded to F16
// and kept within its positive numbers, 1 for zeros; for StorageKind::kTable each out group's
// scales become the 2^bits centers of a 1-D k-means of its own and codes. All patches of W / s are
// clustered, the nearest center is taken away from each, and so on for each codebook. With
// Fit::refine_rounds each k-means is followed by that many rounds of { 100 Adam steps on the
// centers, learning rate 1e-4 with cosine decay to a tenth, on sum (w - c) H_jj (w - c)^T;
// reassignment by the same distance }, H_jj being the patch's block of H with 1 % of H's mean
// diagonal added (arXiv 2604.08118). With Fit::points_per_center seedings and Lloyd iterations see
// that many patches a center, drawn anew for each codebook; refinement and codes always see all.
//
// The result depends on the spec, the weight and the blocks: not on threads, nor on where the work
// was left and taken up. Points are read from the weight when they are needed, never held as a
// whole.
class ResidualKMeans {
 public:
  // `hessian_blocks` [in_groups, in_group, in_group]: the H_jj; null: identity (refinement is then
  // plain Lloyd). `spec`, the weight's bytes and the blocks outlive it. INVALID_ARGUMENT when there
  // are fewer patches than entries.
  static absl::StatusOr<ResidualKMeans> Create(const Spec& spec, const AdditiveShape& shape,
                                               const WeightView& weight,
                                               const float* hessian_blocks);

  // Does the next step (scales, a seeding, one Lloyd iteration, one refinement round, or the
  // assignment that ends a codebook): at most a few seconds of work up to 2^8 entries. Errors of
  // the token; the step is then to be done again. Requires !done().
  absl::Status Step(Executor& executor, const CancelToken& cancel);
  bool done() const { return stage_ == Stage::kDone; }
  double fraction() const;  // of the steps at most needed, in [0, 1]

  // Codes, scales and codebooks (F32, not yet rounded) so far. Complete once done().
  const AdditiveCode& code() const { return code_; }
  AdditiveCode Take() { return std::move(code_); }

  void Save(StateWriter* out) const;
  // INVALID_ARGUMENT for a state of other sizes or with numbers that Save() cannot have written;
  // nothing is changed then. The spec, weight and blocks must be those of the saved one.
  absl::Status Load(StateReader* in);

  // Bytes held at most beside the weight and the blocks, with `width` threads.
  static uint64_t Bytes(const Spec& spec, const AdditiveShape& shape, int width);

 private:
  enum class Stage : uint8_t { kScales = 0, kSeed, kLloyd, kRefine, kAssign, kDone };

  ResidualKMeans(const Spec& spec, const AdditiveShape& shape, const WeightView& weight,
                 const float* hessian_blocks);

  void FitScales(Executor& executor, const CancelToken& cancel);
  void Train(Executor& executor, const CancelToken& cancel);   // a seeding or a Lloyd iteration
  void Refine(Executor& executor, const CancelToken& cancel);  // one round
  void Assign(Executor& executor, const CancelToken& cancel);
  void DrawTraining(const CancelToken& cancel);
  bool TrainsOnSome() const;
  void LeaveLloyd();
  bool LoadedIsSound() const;

  const Spec& spec_;
  AdditiveShape shape_;
  WeightView weight_;
  std::vector<float> blocks_;  // damped; empty: identity
  AdditiveCode code_;
  Stage stage_ = Stage::kScales;
  int64_t scaled_ = 0;             // out groups that have scales
  int64_t book_ = 0;               // under way
  int64_t iteration_ = 0;          // of its k-means, then of its refinement
  std::vector<float> centers_;     // [entries, patch]
  std::vector<int64_t> training_;  // patches that are trained on, ascending; empty: all
  int64_t training_book_ = -1;     // that they were drawn for
};

}  // namespace quantd
