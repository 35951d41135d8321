// Codebooks and scales for fixed codes (AQLM, arXiv 2401.06118, section 3.3).
//
// The loss tr(D H D^T) is quadratic in the codebooks, with gradient
//   dL / dC_m[c] = -2 sum over (i, j) with code c of s_i (D H)_{i, patch j},
// and quadratic in each scale. Entries that no code uses stay put. Conjugate gradients minimize it
// along the way; Adam does what the paper (betas 0.9, 0.95) or its code (0.0, 0.95, amsgrad) does.
// Sums over rows run in double over fixed runs of out groups: results do not depend on threads.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "workers/core/buffer.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/spec.h"
#include "workers/core/state_bytes.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"
#include "workers/solve/codebook_adam.h"
#include "workers/solve/codebook_gradient.h"
#include "workers/solve/codebook_preconditioner.h"
#include "workers/solve/metric.h"

namespace quantd {

class CodebookUpdate {
 public:
  // All outlive it. Works out W H (one product with H, kept as F32 [m, n]) and w_i H w_i^T unless
  // the metric is the identity or an out group has many scales. Errors of the token,
  // RESOURCE_EXHAUSTED without memory for it.
  static absl::StatusOr<CodebookUpdate> Create(const Spec& spec, const AdditiveShape& shape,
                                               const WeightView& weight, const Metric& metric,
                                               Executor& executor, const CancelToken& cancel);

  // sum over i of w_i H w_i^T.
  double weight_energy() const { return weight_energy_; }

  // tr(D H D^T) of `code`: one product with H.
  absl::StatusOr<double> Loss(const AdditiveCode& code, Executor& executor,
                              const CancelToken& cancel) const;

  // Sets every scale to its best value for the codes and codebooks at hand: in closed form for one
  // scale an out group, by a few steps of conjugate gradients for more (for tables: of the table's
  // entries). `round_to_f16`: to numbers of F16. A scale that would not lower the loss stays.
  // Returns the loss after. One product with H for one scale an out group.
  absl::StatusOr<double> FitScales(bool round_to_f16, AdditiveCode* code, Executor& executor,
                                   const CancelToken& cancel) const;

  // Begins a round for new codes: works out the gradient (and, for conjugate gradients, sets the
  // scales first as FitScales does, for the same one product). Returns the loss.
  absl::StatusOr<double> Begin(AdditiveCode* code, Executor& executor, const CancelToken& cancel);
  // One step; code->books (Adam: scales, too) move. Returns the loss after it. One product with H
  // (Adam: one for the gradient of the next step; with a learning rate far too large the loss may
  // leave the numbers, and End() brings back the best). A step that ends early moves nothing
  // (Adam: the round is then lost).
  absl::StatusOr<double> Step(AdditiveCode* code, Executor& executor, const CancelToken& cancel);
  // Ends a round: where its last loss lies above its first one (Adam may overshoot), the best
  // codebooks and scales of the round come back. Returns the loss.
  double End(AdditiveCode* code);

  // What steps carry over: directions and moments (Adam keeps its own from round to round). Loaded
  // into an update of the same problem, together with the code of that time, steps go on with the
  // same bits. INVALID_ARGUMENT for bytes of other sizes.
  void Save(StateWriter* out) const;
  absl::Status Load(StateReader* in);

  // Of conjugate gradients, instead of the one that Choose() names. For measurements; before
  // Begin().
  void SetPreconditioner(CodebookPreconditioner::Kind kind) { preconditioner_kind_ = kind; }

  // What an update holds from Create() to its end / while lanes run, beside the tiles / the tiles
  // of one thread.
  static uint64_t HeldBytes(const Spec& spec, const AdditiveShape& shape, bool identity);
  static uint64_t LaneBytes(const AdditiveShape& shape);
  static uint64_t ScratchBytes(const AdditiveShape& shape, bool identity);

 private:
  using Tile = CodebookTiles::Tile;
  using Scratch = CodebookTiles::Scratch;

  // The scales of a weight on their way to better ones, and the loss of each out group with them.
  struct ScaleState {
    std::vector<float> scales;
    std::vector<float> tables;  // empty without
    std::vector<double> losses;
  };

  CodebookUpdate() = default;

  const AdditiveShape& shape() const { return problem_.shape; }
  bool adam() const { return spec_->solve.update == CodebookRule::kAdam; }
  std::vector<float>& ScaleParameters(AdditiveCode* code) const {
    return problem_.tables ? code->scale_tables : code->scales;
  }
  static CodebookProblem ProblemOf(const Spec& spec, const AdditiveShape& shape,
                                   const WeightView& weight, const Metric* metric);
  // Arrays of a tile that fits scales.
  static int FitArrays(const AdditiveShape& shape, bool identity);
  int FitArrays() const { return FitArrays(shape(), problem_.metric->identity()); }
  absl::Status MultiplyWeight(Executor& executor, const CancelToken& cancel);

  // codebook_scales.cc. All work on one tile: they set its part of `fitted`, which starts as the
  // scales of `code`, and leave W - W' with the new scales in array 1 of `scratch`; its product
  // with H is returned, null when cancelled.
  ScaleState ScalesOf(const AdditiveCode& code) const;
  const float* FitTile(const AdditiveCode& code, const Tile& tile, Scratch* scratch,
                       const CancelToken& cancel, ScaleState* fitted) const;
  // One scale an out group. !move: array 1 and the product stay those of the scales before.
  const float* FitOne(const AdditiveCode& code, const Tile& tile, bool round_to_f16, bool move,
                      Scratch* scratch, const CancelToken& cancel, ScaleState* fitted) const;
  const float* FitMany(const AdditiveCode& code, const Tile& tile, int steps, Scratch* scratch,
                       const CancelToken& cancel, ScaleState* fitted) const;
  void FitManyForKeeps(const AdditiveCode& code, const Tile& tile, bool round_to_f16,
                       Scratch* scratch, const CancelToken& cancel, ScaleState* fitted) const;
  // Nothing is fitted; array 0 holds the rows before their scales.
  float* Evaluate(const Tile& tile, Scratch* scratch, const CancelToken& cancel,
                  ScaleState* state) const;

  // codebook_update.cc.
  absl::Status BeginDirections(AdditiveCode* code, Executor& executor, const CancelToken& cancel);
  absl::Status StepDirections(AdditiveCode* code, Executor& executor, const CancelToken& cancel);
  absl::Status Precondition(const AdditiveCode& code, Executor& executor,
                            const CancelToken& cancel);
  absl::Status AdamGradient(AdditiveCode* code, Executor& executor, const CancelToken& cancel);
  void KeepBest(AdditiveCode* code);

  const Spec* spec_ = nullptr;
  CodebookProblem problem_;
  CodebookTiles tiles_;
  Buffer weight_product_;  // W H [m, n], or empty
  double weight_energy_ = 0;

  // Of the round.
  double loss_ = 0;
  double first_loss_ = 0;
  // -1/2 dloss / dbooks at the books of now.
  std::vector<double> residual_;

  // Conjugate gradients.
  std::vector<double> direction_;  // of the next step
  double fall_ = 0;                // residual . preconditioned residual
  CodebookPreconditioner::Kind preconditioner_kind_ = CodebookPreconditioner::Kind::kNone;
  std::optional<CodebookPreconditioner> preconditioner_;  // from codes and scales, made when needed

  // Adam.
  std::vector<double> scale_residual_;
  AdamMoments book_moments_;
  AdamMoments scale_moments_;
  double best_loss_ = 0;
  std::vector<float> best_books_;
  std::vector<float> best_scales_;  // or tables
};

}  // namespace quantd
