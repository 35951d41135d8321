#include "workers/solve/beam_tile.h"

#include <algorithm>

#include "workers/linalg/blas.h"
#include "workers/linalg/dot.h"

namespace quantd {
namespace {

bool SameCodes(const uint16_t* a, const uint16_t* b, int64_t count) {
  bool same = true;
  for (int64_t m = 0; m < count; ++m) same &= a[m] == b[m];
  return same;
}

template <typename T>
void Grow(std::vector<T>* v, int64_t size) {
  if (static_cast<int64_t>(v->size()) < size) v->resize(size);
}

}  // namespace

BeamTile::BeamTile(const BeamPlan& plan, const BeamTask& task, BeamScratch* scratch,
                   const CancelToken& cancel)
    : plan_(plan),
      shape_(plan.shape),
      task_(task),
      s_(*scratch),
      cancel_(cancel),
      rows_(task.count * plan.shape.out_group),
      n_(plan.shape.n),
      visits_(BlockVisits(plan.shape)),
      lagging_(plan.beam > 1 && !plan.metric.identity()) {
  const int64_t patch = shape_.patch(), k = plan.beam, lines = rows_ * k;
  s_.old_codes.assign(task.codes, task.codes + task.count * shape_.in_groups() * shape_.codebooks);
  s_.change.assign(task.count, 0.0);
  s_.moved.assign(task.count, 0);
  for (int age = 0; age < 2; ++age) {
    Grow(&s_.base[age], rows_ * kBeamStride);
    Grow(&s_.metric[age], kBeamColumns * kBeamStride);
  }
  Grow(&s_.gathered, plan.metric.identity() ? 0 : kBeamColumns * (n_ + 16));
  Grow(&s_.t, lines * kBeamStride);
  Grow(&s_.step, rows_ * kBeamStride);
  Grow(&s_.chosen, task.count * visits_);
  Grow(&s_.target, std::max(task.count, k) * patch);
  Grow(&s_.entry, std::max(task.count, k) * patch);
  Grow(&s_.squared, task.count);
  Grow(&s_.delta, task.count * patch);
  const int64_t scanned = std::max(task.count, k > 1 ? kBeamScanned * shape_.entries : 0);
  Grow(&s_.score, scanned);
  Grow(&s_.best, scanned);
  Grow(&s_.energy, k > 1 ? visits_ * shape_.entries : shape_.entries);
  if (k == 1) return;
  Grow(&s_.count, task.count);
  Grow(&s_.loss, task.count * k);
  Grow(&s_.before, task.count * k * visits_);
  Grow(&s_.crossing, kBeamColumns * kBeamStride);
  Grow(&s_.carried, lagging_ ? lines * kBeamStride : 0);
  Grow(&s_.kept, k);
  for (int side = 0; side < 2; ++side) {
    Grow(&s_.flip[side], k * shape_.out_group * kBeamStride);
    Grow(&s_.codes[side], k * visits_);
    Grow(&s_.deltas[side], k * patch);
    Grow(&s_.root[side], k);
    Grow(&s_.origin[side], k);
    Grow(&s_.losses[side], k);
  }
}

void BeamTile::Run() {
  for (int64_t g = 0; g < task_.count; ++g) SetError(g);
  Block last = {};
  for (int64_t first = 0; first < shape_.in_groups() && !stopped();) {
    const Block block = BlockAt(first);
    EnterBlock(block);
    if (plan_.beam == 1) {
      SearchSingle(block);
    } else {
      SearchHypotheses(block, first == 0 ? nullptr : &last);
    }
    if (stopped()) break;
    if (!lagging_) {
      Commit(block, nullptr);
    } else {
      if (first > 0) Commit(last, &block);
      CarrySteps(block);
    }
    last = block;
    first += block.groups;
  }
  if (lagging_ && !stopped()) {
    ChooseBest();
    Commit(last, nullptr);
  }
  Finish();
}

BeamTile::Block BeamTile::BlockAt(int64_t first) const {
  const int64_t groups = std::min(BlockGroups(shape_), shape_.in_groups() - first);
  return {first, groups, groups * shape_.in_group};
}

void BeamTile::SetError(int64_t group) {
  const int64_t size = shape_.out_group * n_;
  float* error = task_.error + group * size;
  const float* w = task_.w + group * size;
  DecodeOutGroup(shape_, plan_.books, Codes(group, 0), task_.scales + group * shape_.scale_columns,
                 error);
  for (int64_t i = 0; i < size; ++i) error[i] = w[i] - error[i];
}

void BeamTile::GatherMetric(const Block& rows, const Block& columns, float* out) const {
  const int64_t in = shape_.in_group;
  for (int64_t p = 0; p < rows.groups; ++p) {
    for (int64_t a = 0; a < in; ++a, out += kBeamStride) {
      const int64_t row = InGroup(rows.first + p) * in + a;
      for (int64_t q = 0; q < columns.groups; ++q) {
        const int64_t column = InGroup(columns.first + q) * in;
        if (plan_.metric.identity()) {
          for (int64_t b = 0; b < in; ++b) out[q * in + b] = row == column + b ? 1.0f : 0.0f;
        } else {
          const float* from = plan_.metric.row(row) + column;
          std::copy(from, from + in, out + q * in);
        }
      }
    }
  }
}

void BeamTile::EnterBlock(const Block& block) {
  const int64_t in = shape_.in_group;
  s_.base[0].swap(s_.base[1]);
  s_.metric[0].swap(s_.metric[1]);
  GatherMetric(block, block, s_.metric[0].data());
  float* base = s_.base[0].data();
  if (plan_.metric.identity()) {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t p = 0; p < block.groups; ++p) {
        const float* from = task_.error + r * n_ + InGroup(block.first + p) * in;
        std::copy(from, from + in, base + r * kBeamStride + p * in);
      }
    }
    return;
  }
  const int64_t stride = n_ + 16;
  for (int64_t k = 0; k < block.columns; ++k) {
    std::copy_n(plan_.metric.row(InGroup(block.first + k / in) * in + k % in), n_,
                s_.gathered.data() + k * stride);
  }
  Gemm(false, true, rows_, block.columns, n_, 1.0f, task_.error, n_, s_.gathered.data(), stride,
       0.0f, base, kBeamStride);
}

void BeamTile::Commit(const Block& block, const Block* next) {
  const int age = next == nullptr ? 0 : 1;
  bool changed = false;
  for (int64_t g = 0; g < task_.count; ++g) changed |= CommitGroup(block, g);
  if (!changed) return;
  // What the step adds to the loss is the step times T before and T after.
  float* base = s_.base[age].data();
  for (int64_t g = 0; g < task_.count; ++g) s_.change[g] += StepTimes(base, block, g);
  Gemm(false, false, rows_, block.columns, block.columns, 1.0f, s_.step.data(), kBeamStride,
       s_.metric[age].data(), kBeamStride, 1.0f, base, kBeamStride);
  for (int64_t g = 0; g < task_.count; ++g) s_.change[g] += StepTimes(base, block, g);
  if (next == nullptr) return;
  Gemm(false, false, rows_, next->columns, block.columns, 1.0f, s_.step.data(), kBeamStride,
       s_.crossing.data(), kBeamStride, 1.0f, s_.base[0].data(), kBeamStride);
}

bool BeamTile::CommitGroup(const Block& block, int64_t group) {
  const int64_t in = shape_.in_group, out = shape_.out_group, m = shape_.codebooks;
  float* step = s_.step.data() + group * out * kBeamStride;
  for (int64_t a = 0; a < out; ++a) {
    std::fill_n(step + a * kBeamStride, block.columns, 0.0f);
  }
  bool changed = false;
  float* value = s_.target.data();
  for (int64_t p = 0; p < block.groups; ++p) {
    const int64_t j = InGroup(block.first + p);
    if (group + 1 < task_.count) {
      const int64_t ahead = (group + 1) * out * n_ + j * in;
      __builtin_prefetch(task_.w + ahead);
      __builtin_prefetch(task_.error + ahead, 1);
    }
    const uint16_t* chosen = Chosen(group) + p * m;
    uint16_t* codes = Codes(group, j);
    if (SameCodes(chosen, codes, m)) continue;
    changed = true;
    for (int64_t k = 0; k < m; ++k) codes[k] = chosen[k];
    DecodePatch(shape_, plan_.books, codes, Scale(group, j), value);
    for (int64_t a = 0; a < out; ++a) {
      const int64_t at = (group * out + a) * n_ + j * in;
      const float* w = task_.w + at;
      float* __restrict error = task_.error + at;
      float* __restrict change = step + a * kBeamStride + p * in;
      for (int64_t b = 0; b < in; ++b) {
        const float is = w[b] - value[a * in + b];
        change[b] = is - error[b];
        error[b] = is;
      }
    }
  }
  if (changed) s_.moved[group] = 1;
  return changed;
}

double BeamTile::StepTimes(const float* t, const Block& block, int64_t group) const {
  double sum = 0;
  for (int64_t a = 0; a < shape_.out_group; ++a) {
    const int64_t row = (group * shape_.out_group + a) * kBeamStride;
    sum += DotInDouble(s_.step.data() + row, t + row, block.columns);
  }
  return sum;
}

void BeamTile::Finish() {
  const int64_t codes = shape_.in_groups() * shape_.codebooks, size = shape_.out_group * n_;
  // The search counts with rounded numbers: where its gain is no gain, the codes come back.
  for (int64_t g = 0; g < task_.count; ++g) {
    if (s_.moved[g] == 0 || s_.change[g] < 0) continue;
    std::copy_n(s_.old_codes.data() + g * codes, codes, Codes(g, 0));
    SetError(g);
    s_.change[g] = 0;
  }
  if (task_.product == nullptr) {
    std::copy_n(s_.change.data(), task_.count, task_.loss);
    return;
  }
  plan_.metric.Multiply(task_.error, rows_, task_.product, cancel_);
  for (int64_t g = 0; g < task_.count; ++g) {
    task_.loss[g] = DotInDouble(task_.error + g * size, task_.product + g * size, size);
  }
}

int64_t BeamTileRows(const AdditiveShape& shape, int beam) {
  // Enough rows that H and the codebooks are read from memory seldom; so few that the tile stays in
  // the cache of a core or near it, and that a small weight still has a tile for each thread.
  int64_t rows = std::max<int64_t>(2048 / beam, 32);
  rows = std::min<int64_t>({rows, 256, std::max<int64_t>(64, shape.m / 8)});
  while (rows > 64 && rows * shape.n > int64_t{2} << 20) rows /= 2;
  return rows;
}

}  // namespace quantd
