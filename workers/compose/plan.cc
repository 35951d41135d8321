#include "workers/compose/plan.h"

#include <algorithm>
#include <numeric>

#include "workers/core/shape.h"
#include "workers/core/spec_counts.h"
#include "workers/levels/additive.h"
#include "workers/solve/additive.h"
#include "workers/transform/rotation.h"

namespace quantd {
namespace {

// F32 arrays of the size of codebooks and scales that a saved solve holds at most: themselves, the
// gradient (F64, counts twice), the best so far, and Adam's three moments.
constexpr uint64_t kUpdateCopies = 7;

bool Sweeps(const Spec& spec) { return spec.solve.solver == Solver::kGptq; }

// The form of the sweep that wants U: right-looking.
bool UsesInverse(const Spec& spec) {
  return Sweeps(spec) && spec.solve.factorization == Factorization::kCholesky;
}

// One set of parameters serves a whole column, so that its rows are fitted together.
bool WholeColumns(const Spec& spec, int64_t m) {
  return spec.partition.per_ic() && spec.partition.GroupRows(m) == m;
}

// Rows that share anything: groups down columns, patches, second-level scales, blocks of an output
// rotation.
int64_t RowGranule(const Spec& spec, int64_t m, int64_t granule) {
  int64_t rows = granule;
  const int64_t group = spec.partition.GroupRows(m);
  // One group of all rows is cut anywhere: every stripe reads the same parameters.
  if (group < m) rows = std::lcm(rows, group);
  if (spec.levels.additive()) rows = std::lcm(rows, static_cast<int64_t>(spec.levels.out_group));
  if (spec.storage.kind == StorageKind::kInt) {
    rows = std::lcm(rows, static_cast<int64_t>(spec.storage.super_group));
  }
  if (spec.transform.rotation == RotationKind::kBoth) {
    const absl::StatusOr<int64_t> block = RotationBlock(m, 0, RotationSide::kOutput);
    if (block.ok()) rows = std::lcm(rows, *block);
  }
  return rows;
}

int64_t Wanted(const Spec& spec, int64_t m, int64_t n, bool with_hessian) {
  const int64_t spread = CeilDiv(CeilDiv(m, 8), 32) * 32;  // leave work for several threads
  if (Sweeps(spec)) {
    // Tall stripes feed GEMM; 16 MiB of floats at most.
    const int64_t fitting = (int64_t{1} << 22) / n / 32 * 32;
    return std::clamp<int64_t>(std::min(fitting, spread), 64, 256);
  }
  // About 128 Ki weights: codes and floats of a stripe stay in the L2 cache. Output errors want
  // taller stripes, for the speed of the products with H.
  const int64_t fitting = with_hessian ? 256 : (int64_t{1} << 17) / n / 32 * 32;
  return std::clamp<int64_t>(std::min(fitting, spread), 32, 256);
}

// Passes over a weight's numbers that its fit takes, in flops a weight.
double FitFlops(const Spec& spec) {
  switch (spec.fit.kind) {
    case FitKind::kShrinkSearch:
      return 8 + 10.0 * (spec.fit.steps + 1);
    case FitKind::kClipSearch:
      return 8 +
             (10.0 + 2.0 * static_cast<double>(spec.partition.group_size)) * (spec.fit.steps + 1);
    case FitKind::kHqq:
      return 60.0 * spec.fit.iterations;
    case FitKind::kKMeans:
      return 400;
    case FitKind::kBinarySearch:
      return 2000;
    default:
      return 8;
  }
}

}  // namespace

Stripes PlanStripes(const Spec& spec, int64_t m, int64_t n, int64_t granule, bool with_hessian) {
  const int64_t rows = RowGranule(spec, m, granule);
  const int64_t wanted = CeilDiv(Wanted(spec, m, n, with_hessian), rows) * rows;
  if (WholeColumns(spec, m)) return {CeilDiv(m, wanted) * wanted, wanted};
  return {wanted, wanted};
}

double WeightFlops(const Spec& spec, int64_t m, int64_t n, bool with_hessian) {
  if (spec.levels.additive()) return AdditiveFlops(spec, m, n, with_hessian);
  const double mn = static_cast<double>(m) * static_cast<double>(n);
  double flops = mn * FitFlops(spec);
  if (spec.transform.correction != CorrectionKind::kNone) flops += 2 * mn * static_cast<double>(n);
  if (!Sweeps(spec)) return flops;
  const double terms = spec.solve.asymmetric > 0 ? 2 : 1;
  return flops + mn * static_cast<double>(n) * (terms + 2 * spec.solve.descent_passes) +
         mn * spec.solve.block_columns * 2;
}

double GroupFlops(const Spec& spec, int64_t n) {
  const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  double flops = 0;
  if (Sweeps(spec)) flops += cube / 3 * (UsesInverse(spec) ? 2 : 1);
  if (spec.solve.asymmetric > 0) flops += cube * 2 / 3;
  if (spec.transform.correction != CorrectionKind::kNone) flops += cube * 7 / 3;
  // Up to 512 sampled rows through H for each exponent.
  if (spec.transform.scaling == ScalingKind::kAwq) {
    flops +=
        spec.transform.scaling_steps * 1024.0 * static_cast<double>(n) * static_cast<double>(n);
  }
  return flops;
}

uint64_t SolveBytes(const Spec& spec, int64_t solve_rows, int64_t n) {
  const uint64_t rows = static_cast<uint64_t>(solve_rows);
  const uint64_t area = rows * static_cast<uint64_t>(n);
  const uint64_t groups = spec.partition.GroupsPerRow(n);
  uint64_t bytes = 0;
  if (spec.transform.any()) bytes += 4 * area;
  if (spec.exceptions.any()) bytes += area;
  if (spec.fit.importance == Importance::kFisher) bytes += 4 * area;
  if (!Sweeps(spec)) return bytes;
  // The state, and for a block of columns weights, sums or errors, and codes; lanes of parameters.
  const uint64_t block = static_cast<uint64_t>(spec.solve.block_columns);
  bytes += 4 * area + block * (13 * rows + 8 * block);
  if (!spec.partition.per_ic()) bytes += 12 * groups * rows;
  if (spec.solve.descent_passes > 0) bytes += 14 * area;
  if (spec.levels.table_numbers() > 0 && !spec.partition.per_ic()) {
    bytes += 5 * groups * rows * (uint64_t{1} << spec.levels.bits);
  }
  return bytes;
}

uint64_t MeasureBytes(const Spec& spec, int64_t measure_rows, int64_t n, bool with_hessian) {
  if (!with_hessian) return 0;
  const uint64_t area = static_cast<uint64_t>(measure_rows) * static_cast<uint64_t>(n);
  // transposed [n, rows], and 256 rows of H with their product
  uint64_t bytes = 4 * (area + 256 * static_cast<uint64_t>(n + measure_rows));
  if (Sweeps(spec)) bytes += 4 * area;       // permuted
  if (UsesInverse(spec)) bytes += 4 * area;  // the solved panels
  if (spec.transform.scaling != ScalingKind::kNone ||
      spec.transform.rotation != RotationKind::kNone) {
    bytes += 4 * area;
  }
  if (spec.transform.correction != CorrectionKind::kNone) bytes += 5 * area;
  return bytes;
}

uint64_t WholeSolveBytes(const Spec& spec, int64_t m, int64_t n) {
  return spec.levels.additive() ? AdditiveThreadBytes(spec, m, n) : 0;
}

uint64_t SharedBytes(const Spec& spec) {
  if (!spec.levels.additive()) return 0;
  const Levels& l = spec.levels;
  return 4 * static_cast<uint64_t>(l.codebooks) * static_cast<uint64_t>(l.entries()) *
         static_cast<uint64_t>(l.out_group) * static_cast<uint64_t>(l.in_group);
}

uint64_t StateBytes(const Spec& spec, int64_t m, int64_t n) {
  if (spec.solve.solver != Solver::kBeam) return 0;
  const AdditiveShape shape = AdditiveShape::Of(spec, m, n);
  const uint64_t scales = static_cast<uint64_t>(shape.out_groups() * shape.scale_columns);
  uint64_t bytes = 4096 + 2 * static_cast<uint64_t>(shape.codes());
  // Codebooks and scales, with what an update carries from step to step.
  bytes += 4 * kUpdateCopies * (static_cast<uint64_t>(shape.book_numbers()) + scales);
  if (spec.storage.kind == StorageKind::kTable) {
    bytes += scales + (static_cast<uint64_t>(4 * shape.out_groups()) << spec.storage.bits);
  }
  return bytes;
}

uint64_t GroupBytes(const Spec& spec, int64_t n) {
  const uint64_t square = static_cast<uint64_t>(n) * static_cast<uint64_t>(n);
  uint64_t bytes = 0;
  // C, whose memory the correction or the feedback takes over.
  if (spec.transform.correction != CorrectionKind::kNone || spec.solve.asymmetric > 0) {
    bytes += 4 * square;
  }
  if (spec.fit.kind == FitKind::kClipSearch) {
    bytes += 4 * static_cast<uint64_t>(n) * static_cast<uint64_t>(spec.partition.GroupColumns(n));
  }
  return bytes;
}

uint64_t WeightBytes(const Spec& spec, int64_t m, int64_t n, bool with_hessian) {
  if (spec.levels.additive()) return AdditiveBytes(spec, m, n, with_hessian) + SharedBytes(spec);
  // Codes and parameters stay from solving to measuring where the two are passes of their own.
  uint64_t bytes = 0;
  const uint64_t area = static_cast<uint64_t>(m) * static_cast<uint64_t>(n);
  const bool two_passes = spec.exceptions.stores_outliers() || WholeColumns(spec, m) ||
                          spec.partition.granularity == Granularity::kTensor;
  if (two_passes) {
    const uint64_t grid = static_cast<uint64_t>(CeilDiv(m, spec.partition.GroupRows(m))) *
                          static_cast<uint64_t>(spec.partition.GroupsPerRow(n));
    bytes += area + grid * (4 + 2 + 4 * static_cast<uint64_t>(spec.levels.table_numbers()));
    // Outliers lie in their stripes and joined; what is kept is F32 until it is packed.
    bytes += static_cast<uint64_t>(MaxOutliers(spec.exceptions, m, n)) * 16;
    bytes += 4 * static_cast<uint64_t>(KeptColumns(spec.exceptions, n) * m +
                                       RecentRows(spec.exceptions, m) * n);
  }
  if (spec.exceptions.outliers == OutlierKind::kColumnShare) bytes += uint64_t{32} << 20;
  return bytes;
}

}  // namespace quantd
