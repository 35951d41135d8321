#include "workers/solve/codebook_preconditioner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "workers/core/status_macros.h"

namespace quantd {
namespace {

// Relative to each diagonal entry: above the noise of an H in F32, below what changes a direction.
constexpr double kRidge = 1e-5;
constexpr int64_t kEntriesAtOnce = 512;

}  // namespace

CodebookPreconditioner::Kind CodebookPreconditioner::Choose(const AdditiveShape& shape,
                                                            bool identity) {
  if (identity || Bytes(Kind::kBlock, shape) > kMostBytes) return Kind::kDiagonal;
  return Kind::kBlock;
}

uint64_t CodebookPreconditioner::Bytes(Kind kind, const AdditiveShape& shape) {
  if (kind == Kind::kNone) return 0;
  const int64_t rows = kind == Kind::kBlock ? shape.in_group : 1;
  return shape.codebooks * rows * shape.entries * shape.in_group * sizeof(double);
}

absl::StatusOr<CodebookPreconditioner> CodebookPreconditioner::Create(
    Kind kind, const AdditiveShape& shape, const Metric& metric, const AdditiveCode& code,
    Executor& executor, const CancelToken& cancel) {
  CodebookPreconditioner made(kind, shape);
  if (kind == Kind::kNone) return made;
  made.sums_.resize(Bytes(kind, shape) / sizeof(double));
  const int64_t rows = made.block_rows();
  executor.ParallelFor(shape.codebooks * rows, [&](int64_t item) {
    made.Sum(metric, code, item / rows, item % rows, cancel);
  });
  const int64_t runs = (shape.entries + kEntriesAtOnce - 1) / kEntriesAtOnce;
  executor.ParallelFor(shape.codebooks * runs, [&](int64_t item) {
    const int64_t begin = item % runs * kEntriesAtOnce;
    const int64_t end = std::min(begin + kEntriesAtOnce, shape.entries);
    for (int64_t c = begin; c < end && !cancel.cancelled(); ++c) {
      kind == Kind::kBlock ? made.Factor(item / runs, c) : made.Invert(item / runs, c);
    }
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  return made;
}

// Row `row` of all blocks of one codebook. Each number is summed on one thread, patch after patch.
void CodebookPreconditioner::Sum(const Metric& metric, const AdditiveCode& code, int64_t book,
                                 int64_t row, const CancelToken& cancel) {
  const int64_t ig = shape_.in_group, in_groups = shape_.in_groups();
  std::vector<double> lines(shape_.n, 1.0);  // that row of H_jj for every j
  if (!metric.identity()) {
    for (int64_t c = 0; c < shape_.n; ++c) {
      const int64_t begin = c / ig * ig;
      lines[c] = kind_ == Kind::kBlock ? metric.row(begin + row)[c] : metric.row(c)[c];
    }
  }
  for (int64_t i = 0; i < shape_.out_groups() && !cancel.cancelled(); ++i) {
    const uint16_t* codes = code.codes.data() + i * in_groups * shape_.codebooks + book;
    const float* scales = code.scales.data() + i * shape_.scale_columns;
    for (int64_t j = 0; j < in_groups; ++j) {
      const double s = scales[shape_.scale_columns == 1 ? 0 : j], weight = s * s;
      const double* line = lines.data() + j * ig;
      double* to = BlockRow(book, row, codes[j * shape_.codebooks]);
      for (int64_t k = 0; k < ig; ++k) to[k] += weight * line[k];
    }
  }
}

void CodebookPreconditioner::Invert(int64_t book, int64_t entry) {
  double* diagonal = BlockRow(book, 0, entry);
  for (int64_t k = 0; k < shape_.in_group; ++k) {
    diagonal[k] = diagonal[k] > 0 ? 1 / diagonal[k] : 0;
  }
}

void CodebookPreconditioner::Factor(int64_t book, int64_t entry) {
  const int64_t ig = shape_.in_group;
  for (int64_t k = 0; k < ig; ++k) {
    double* l = BlockRow(book, k, entry);
    const double diagonal = l[k];
    double pivot = diagonal * (1 + kRidge);
    for (int64_t c = 0; c < k; ++c) {
      const double* above = BlockRow(book, c, entry);
      double sum = l[c];
      for (int64_t d = 0; d < c; ++d) sum -= l[d] * above[d];
      l[c] = sum * above[c];
      pivot -= l[c] * l[c];
    }
    if (pivot > 0.1 * kRidge * diagonal) {
      l[k] = 1 / std::sqrt(pivot);
      continue;
    }
    // Not positive definite beyond rounding: this number stands alone.
    std::fill(l, l + k, 0.0);
    l[k] = diagonal > 0 ? 1 / std::sqrt(diagonal) : 0;
  }
}

void CodebookPreconditioner::Solve(int64_t book, int64_t entry, const double* r,
                                   double* out) const {
  const int64_t ig = shape_.in_group;
  for (int64_t k = 0; k < ig; ++k) {
    const double* l = BlockRow(book, k, entry);
    double sum = r[k];
    for (int64_t c = 0; c < k; ++c) sum -= l[c] * out[c];
    out[k] = sum * l[k];
  }
  for (int64_t k = ig - 1; k >= 0; --k) {
    const double* l = BlockRow(book, k, entry);
    out[k] *= l[k];
    for (int64_t c = 0; c < k; ++c) out[c] -= l[c] * out[k];
  }
}

void CodebookPreconditioner::Apply(const std::vector<double>& r, Executor& executor,
                                   std::vector<double>* out) const {
  if (kind_ == Kind::kNone) {
    *out = r;
    return;
  }
  out->resize(r.size());
  const int64_t ig = shape_.in_group, og = shape_.out_group,
                all = shape_.codebooks * shape_.entries;
  executor.ParallelFor((all + kEntriesAtOnce - 1) / kEntriesAtOnce, [&](int64_t run) {
    const int64_t begin = run * kEntriesAtOnce, end = std::min(begin + kEntriesAtOnce, all);
    for (int64_t e = begin; e < end; ++e) {
      const int64_t book = e / shape_.entries, entry = e % shape_.entries;
      for (int64_t a = 0; a < og; ++a) {
        const double* from = r.data() + (e * og + a) * ig;
        double* to = out->data() + (e * og + a) * ig;
        if (kind_ == Kind::kBlock) {
          Solve(book, entry, from, to);
          continue;
        }
        const double* inverse = BlockRow(book, 0, entry);
        for (int64_t k = 0; k < ig; ++k) to[k] = from[k] * inverse[k];
      }
    }
  });
}

}  // namespace quantd
