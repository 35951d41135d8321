// What SolveAdditive takes, from shapes and spec alone.
#include <algorithm>
#include <cmath>

#include "workers/core/shape.h"
#include "workers/fit/residual_kmeans.h"
#include "workers/solve/additive.h"
#include "workers/solve/beam_search.h"
#include "workers/solve/beam_tile.h"
#include "workers/solve/codebook_update.h"

namespace quantd {
namespace {

// Rounds until a tolerance of 1 % stops the alternation, and by how many a tolerance ten times
// smaller prolongs it: docs/performance.md.
constexpr double kUsualRounds = 7;
constexpr double kRoundsPerDecade = 12;
// Scanning entries costs more than its multiply-adds: comparing, and too few numbers a row for the
// speed of products.
constexpr double kScanFactor = 2.5;
// The same for each hypothesis of a beam beyond the first, which is copied and compared as well.
constexpr double kHypothesisFactor = 2.1;
// Scans of all patches that a refinement round costs, and that seeding and the last assignment do.
constexpr double kRefineScans = 1.4;
constexpr double kEndScans = 2;
// Sums of the k-means that are ever held at once.
constexpr int kMostThreads = 16;

double Rounds(const Solve& solve) {
  double rounds = solve.rounds;
  if (solve.tolerance > 0) {
    rounds = std::min(
        rounds,
        std::max(2.0, kUsualRounds + kRoundsPerDecade * -std::log10(solve.tolerance / 0.01)));
  }
  return rounds;
}

}  // namespace

double AdditiveFlops(const Spec& spec, int64_t m, int64_t n, bool with_hessian) {
  const double mn = static_cast<double>(m) * static_cast<double>(n);
  const double product = with_hessian ? 2 * mn * static_cast<double>(n) : 0;
  const double scan =
      kScanFactor * 2 * mn * static_cast<double>(spec.levels.entries()) * spec.levels.codebooks;
  const double search = product + scan * (1 + kHypothesisFactor * (spec.solve.beam - 1));
  if (spec.fit.kind == FitKind::kGiven) return product + search * Rounds(spec.solve);
  double trained = 1;  // share of patches
  if (spec.fit.points_per_center > 0) {
    const double points = mn / (spec.levels.out_group * spec.levels.in_group);
    trained = std::min(1.0, static_cast<double>(spec.fit.points_per_center) *
                                static_cast<double>(spec.levels.entries()) / points);
  }
  const double start =
      scan * (spec.fit.iterations * trained + kRefineScans * spec.fit.refine_rounds + kEndScans);
  const double update = product * (1 + spec.solve.update_steps);
  return product + start + (search + update) * Rounds(spec.solve) + search + 2 * product;
}

uint64_t AdditiveBytes(const Spec& spec, int64_t m, int64_t n, bool with_hessian) {
  const AdditiveShape shape = AdditiveShape::Of(spec, m, n);
  const uint64_t books = static_cast<uint64_t>(shape.book_numbers());
  const uint64_t scales = static_cast<uint64_t>(shape.out_groups() * shape.scale_columns);
  uint64_t code = 2 * static_cast<uint64_t>(shape.codes()) + 5 * scales + 4 * books;
  if (spec.storage.kind == StorageKind::kTable) {
    code += 4 * static_cast<uint64_t>(shape.out_groups()) << spec.storage.bits;
  }
  // The entries once more, as the scan wants them.
  uint64_t update = code + 4 * books + CodebookUpdate::HeldBytes(spec, shape, !with_hessian);
  if (spec.fit.kind == FitKind::kGiven) {
    // Distances of patches and marks of those that may change.
    const uint64_t patches = static_cast<uint64_t>(shape.out_groups() * shape.in_groups());
    return update + (spec.solve.changed_share < 1 ? 5 * patches : 0);
  }
  update += CodebookUpdate::LaneBytes(shape);
  return std::max(update, ResidualKMeans::Bytes(spec, shape, kMostThreads));
}

uint64_t AdditiveThreadBytes(const Spec& spec, int64_t m, int64_t n) {
  const AdditiveShape shape = AdditiveShape::Of(spec, m, n);
  // Weights and errors of a tile, beside the search's own.
  const uint64_t tile =
      8 * static_cast<uint64_t>(BeamTileRows(shape, spec.solve.beam)) * static_cast<uint64_t>(n);
  return std::max(tile + BeamBytes(shape, spec.solve.beam),
                  CodebookUpdate::ScratchBytes(shape, false));
}

}  // namespace quantd
