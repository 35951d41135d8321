#include "tests/fuzz/state_problem.h"

#include <cmath>
#include <cstdlib>

namespace quantd {
namespace {

float Wave(int64_t i) { return std::sin(static_cast<float>(i) * 1.7f + 0.3f); }

}  // namespace

StateProblem::StateProblem(uint8_t variant) : variant_(variant) {
  spec_.levels.kind = LevelKind::kAdditive;
  spec_.levels.codebooks = 2;
  spec_.levels.codebook_bits = 2;
  spec_.levels.in_group = 4;
  spec_.levels.out_group = (variant & 4) != 0 ? 2 : 1;
  spec_.partition.granularity = Granularity::kRow;
  if ((variant & 2) != 0) {
    spec_.partition.granularity = Granularity::kGroup;
    spec_.partition.group_size = 4;
    spec_.storage.kind = StorageKind::kTable;
    spec_.storage.bits = 2;
  }
  spec_.fit.kind = FitKind::kResidualKMeans;
  spec_.fit.iterations = 3;
  spec_.fit.refine_rounds = 1;
  spec_.solve.solver = Solver::kBeam;
  spec_.solve.beam = 2;
  spec_.solve.rounds = 2;
  spec_.solve.update_steps = 2;
  if ((variant & 8) != 0) spec_.solve.update = CodebookRule::kAdam;

  weights_.resize(kRows * kColumns);
  for (int64_t i = 0; i < kRows * kColumns; ++i) weights_[i] = Wave(i * i);
  hessian_.resize(kColumns * kColumns);
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t k = 0; k < kColumns; ++k) {
      hessian_[i * kColumns + k] = std::pow(0.7f, static_cast<float>(std::abs(i - k)));
    }
  }
  if ((variant & 16) == 0) return;
  spec_.fit.kind = FitKind::kGiven;
  spec_.fit.refine_rounds = 0;
  // Scales of their own are what given codebooks come with.
  if ((variant & 2) != 0) spec_.storage.kind = StorageKind::kF16;
  const AdditiveShape shape = AdditiveShape::Of(spec_, kRows, kColumns);
  given_.books.resize(shape.book_numbers());
  for (size_t i = 0; i < given_.books.size(); ++i) {
    given_.books[i] = 0.25f * Wave(static_cast<int64_t>(i));
  }
  given_.scales.assign(shape.out_groups() * shape.scale_columns, 1.5f);
}

}  // namespace quantd
