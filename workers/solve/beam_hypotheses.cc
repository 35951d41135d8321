// Beam search with more than one hypothesis: a block is worked on out group by out group.
//
// All hypotheses of an out group have the same code at a place not yet visited, and each place is
// visited once: two children of one parent differ there, children of two parents differ before. So
// no hypothesis comes twice.
#include <algorithm>
#include <cmath>
#include <limits>

#include "workers/linalg/blas.h"
#include "workers/solve/beam_tile.h"
#include "workers/solve/sweep_kernels.h"

namespace quantd {
namespace {

// Candidates of a visit from which on a cap of their losses pays.
constexpr int64_t kCrowd = 64;

}  // namespace

void BeamTile::SearchHypotheses(const Block& block, const Block* before) {
  LoadHypotheses(block, before);
  SetEnergies(block);
  float* t = s_.t.data();
  for (int64_t g = 0; g < task_.count && !stopped(); ++g) {
    const int64_t rows = s_.count[g] * shape_.out_group;
    SearchGroup(block, g, t);
    EndGroup(g, before != nullptr);
    t += rows * kBeamStride;
  }
}

// T of each hypothesis: the tile's own, in which the block before is not committed yet, and what
// the hypothesis changes there.
void BeamTile::LoadHypotheses(const Block& block, const Block* before) {
  const int64_t size = shape_.out_group * kBeamStride;
  if (before == nullptr || !lagging_) {
    for (int64_t g = 0; g < task_.count; ++g) {
      s_.count[g] = 1;
      s_.loss[g * plan_.beam] = 0;
    }
    std::copy_n(s_.base[0].data(), task_.count * size, s_.t.data());
    return;
  }
  float* t = s_.t.data();
  for (int64_t g = 0; g < task_.count; ++g) {
    for (int64_t i = 0; i < s_.count[g]; ++i, t += size) {
      std::copy_n(s_.base[0].data() + g * size, size, t);
    }
  }
  GatherMetric(*before, block, s_.crossing.data());
  Gemm(false, false, (t - s_.t.data()) / kBeamStride, block.columns, before->columns, 1.0f,
       s_.carried.data(), kBeamStride, s_.crossing.data(), kBeamStride, 1.0f, s_.t.data(),
       kBeamStride);
}

void BeamTile::SetEnergies(const Block& block) {
  const int64_t in = shape_.in_group, entries = shape_.entries;
  for (int64_t at = 0; at < block.groups && !stopped(); ++at) {
    for (int64_t m = 0; m < shape_.codebooks; ++m) {
      plan_.scan.energy(plan_.entries_t + m * shape_.patch() * entries, entries, shape_.out_group,
                        in, s_.metric[0].data() + at * in * kBeamStride + at * in, kBeamStride,
                        s_.energy.data() + (at * shape_.codebooks + m) * entries);
    }
  }
}

void BeamTile::SearchGroup(const Block& block, int64_t group, float* t) {
  const int64_t m = shape_.codebooks;
  side_ = 0;
  hypotheses_ = s_.count[group];
  for (int64_t i = 0; i < hypotheses_; ++i) {
    s_.losses[0][i] = s_.loss[group * plan_.beam + i];
    s_.root[0][i] = static_cast<int32_t>(i);
    uint16_t* codes = s_.codes[0].data() + i * visits_;
    for (int64_t at = 0; at < block.groups; ++at, codes += m) {
      std::copy_n(Codes(group, InGroup(block.first + at)), m, codes);
    }
  }
  for (int64_t at = 0; at < block.groups && !stopped(); ++at) {
    const int64_t j = InGroup(block.first + at);
    if (!Free(group, j)) continue;
    for (int64_t i = 0; i < hypotheses_; ++i) s_.origin[side_][i] = static_cast<int32_t>(i);
    std::fill_n(s_.deltas[side_].begin(), hypotheses_ * shape_.patch(), 0.0f);
    for (int64_t k = 0; k < m; ++k) {
      VisitGroup(block, group, at, plan_.book_order[j * m + k], t);
    }
    if (plan_.metric.identity()) {
      // In groups have nothing to do with each other: the best so far stays the best.
      hypotheses_ = 1;
    } else {
      t = SpreadGroup(block, at, t);
    }
  }
}

void BeamTile::VisitGroup(const Block& block, int64_t group, int64_t at, int64_t book,
                          const float* t) {
  const int64_t in = shape_.in_group, out = shape_.out_group, patch = shape_.patch();
  const int64_t j = InGroup(block.first + at), visit = at * shape_.codebooks + book;
  const int32_t code = Codes(group, j)[book];
  const float s = Scale(group, j), squared = s * s;
  const float* old = plan_.books + (book * shape_.entries + code) * patch;
  for (int64_t i = 0; i < hypotheses_; ++i) {
    const float* delta = s_.deltas[side_].data() + i * patch;
    for (int64_t a = 0; a < out; ++a) {
      const float* row = t + (s_.origin[side_][i] * out + a) * kBeamStride + at * in;
      float* target = s_.target.data() + i * patch + a * in;
      float* entry = s_.entry.data() + i * patch + a * in;
      for (int64_t b = 0; b < in; ++b) {
        target[b] = s * row[b];
        entry[b] = s * (s * old[a * in + b] + delta[a * in + b]);
      }
    }
  }
  plan_.scan.add_product(s_.entry.data(), s_.metric[0].data() + at * in * kBeamStride + at * in,
                         kBeamStride, hypotheses_ * out, in, s_.target.data());

  const int64_t kept = CollectCandidates(visit, book, code, squared);
  const bool same =
      kept == hypotheses_ && std::all_of(s_.kept.begin(), s_.kept.begin() + kept,
                                         [&](const BeamCandidate& c) { return c.code == code; });
  if (same) return;
  hypotheses_ = kept;
  KeepBest(visit, group, j, book);
}

// No candidate above it can be kept: a loss that at least `beam` candidates of the best hypothesis
// do not exceed.
double BeamTile::LossCap(const float* entries_t, const float* energy, float squared,
                         double own) const {
  float least[kScanLanes];
  plan_.scan.minima(entries_t, energy, shape_.entries, shape_.patch(), s_.target.data(), squared,
                    least);
  std::nth_element(least, least + plan_.beam - 1, least + kScanLanes);
  return s_.losses[side_][0] + (least[plan_.beam - 1] - own);
}

// The best of the hypotheses with their old code and with every other one, into s_.kept by rising
// loss; returns how many. Bounds of scans only leave out what cannot be kept, so that they do not
// show in the result.
int64_t BeamTile::CollectCandidates(int64_t visit, int64_t book, int32_t code, float squared) {
  const int64_t patch = shape_.patch(), entries = shape_.entries;
  const float* entries_t = plan_.entries_t + book * patch * entries;
  const float* energy = s_.energy.data() + visit * entries;
  const double* losses = s_.losses[side_].data();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  double cap = kInfinity;
  int64_t kept = hypotheses_, all_found = 0;
  for (int64_t i = 0; i < kept; ++i) s_.kept[i] = {losses[i], static_cast<int32_t>(i), code};
  for (int64_t first = 0; first < hypotheses_ && !stopped(); first += kBeamScanned) {
    const int64_t count = std::min(kBeamScanned, hypotheses_ - first);
    float bounds[kBeamScanned];
    double own[kBeamScanned];
    int64_t found[kBeamScanned];
    const float* targets = s_.target.data() + first * patch;
    for (int64_t i = 0; i < count; ++i) {
      own[i] =
          plan_.scan.score(entries_t, energy, entries, patch, targets + i * patch, squared, code);
      if (first + i == 0 && crowded_) cap = LossCap(entries_t, energy, squared, own[0]);
      const double worst = kept < plan_.beam ? cap : std::min(cap, s_.kept[kept - 1].loss);
      bounds[i] =
          std::nextafter(static_cast<float>(own[i] + (worst - losses[first + i])), kInfinity);
    }
    plan_.scan.below_each(entries_t, energy, entries, patch, targets, squared, bounds, count,
                          s_.best.data(), s_.score.data(), found);
    for (int64_t i = 0; i < count; ++i) {
      all_found += found[i];
      for (int64_t c = i * entries; c < i * entries + found[i]; ++c) {
        const double loss = losses[first + i] + (s_.score[c] - own[i]);
        const bool full = kept == plan_.beam;
        if (s_.best[c] == code || (full && !(loss < s_.kept[kept - 1].loss))) continue;
        int64_t place = full ? kept - 1 : kept++;
        for (; place > 0 && loss < s_.kept[place - 1].loss; --place) {
          s_.kept[place] = s_.kept[place - 1];
        }
        s_.kept[place] = {loss, static_cast<int32_t>(first + i), s_.best[c]};
      }
    }
  }
  crowded_ = crowded_ ? cap < losses[hypotheses_ - 1] || hypotheses_ < plan_.beam
                      : all_found > kCrowd + 4 * plan_.beam;
  return kept;
}

// Makes the other side of the pairs out of s_.kept.
void BeamTile::KeepBest(int64_t visit, int64_t group, int64_t in_group, int64_t book) {
  const int64_t patch = shape_.patch();
  const int from = side_, to = 1 - side_;
  const float s = Scale(group, in_group);
  const float* books = plan_.books + book * shape_.entries * patch;
  const float* was = books + Codes(group, in_group)[book] * patch;
  for (int64_t i = 0; i < hypotheses_; ++i) {
    const BeamCandidate& c = s_.kept[i];
    const float* is = books + c.code * patch;
    const float* old = s_.deltas[from].data() + c.parent * patch;
    float* delta = s_.deltas[to].data() + i * patch;
    for (int64_t b = 0; b < patch; ++b) delta[b] = old[b] + s * (was[b] - is[b]);
    s_.losses[to][i] = c.loss;
    s_.root[to][i] = s_.root[from][c.parent];
    s_.origin[to][i] = s_.origin[from][c.parent];
    uint16_t* codes = s_.codes[to].data() + i * visits_;
    std::copy_n(s_.codes[from].data() + c.parent * visits_, visits_, codes);
    codes[visit] = static_cast<uint16_t>(c.code);
  }
  side_ = to;
}

// T of the columns that come later, for hypotheses as they are after the in group. Returns where it
// lies now.
float* BeamTile::SpreadGroup(const Block& block, int64_t at, float* t) {
  const int64_t in = shape_.in_group, out = shape_.out_group, later = (at + 1) * in;
  const int64_t columns = block.columns - later;
  if (columns == 0) return t;
  bool in_place = true;
  for (int64_t i = 0; i < hypotheses_; ++i) in_place = in_place && s_.origin[side_][i] == i;
  float* to = in_place ? t : s_.flip[t == s_.flip[0].data() ? 1 : 0].data();
  const float* h = s_.metric[0].data() + at * in * kBeamStride + later;
  const SweepKernels& kernels = ActiveSweepKernels();
  for (int64_t i = 0; i < hypotheses_; ++i) {
    for (int64_t a = 0; a < out; ++a) {
      const float* delta = s_.deltas[side_].data() + (i * out + a) * in;
      float* row = to + (i * out + a) * kBeamStride + later;
      if (!in_place) {
        std::copy_n(t + (s_.origin[side_][i] * out + a) * kBeamStride + later, columns, row);
      }
      if (std::any_of(delta, delta + in, [](float d) { return d != 0; })) {
        kernels.gather(h, kBeamStride, delta, in, columns, row);
      }
    }
  }
  return to;
}

void BeamTile::EndGroup(int64_t group, bool has_before) {
  uint16_t* before = s_.before.data() + group * plan_.beam * visits_;
  if (!lagging_) {
    std::copy_n(s_.codes[side_].data(), visits_, Chosen(group));
    return;
  }
  // Only hypotheses that agree with the best one on the block before go on.
  const int32_t root = s_.root[side_][0];
  if (has_before) std::copy_n(before + root * visits_, visits_, Chosen(group));
  int64_t count = 0;
  for (int64_t i = 0; i < hypotheses_; ++i) {
    if (s_.root[side_][i] != root) continue;
    s_.loss[group * plan_.beam + count] = s_.losses[side_][i];
    std::copy_n(s_.codes[side_].data() + i * visits_, visits_, before + count++ * visits_);
  }
  s_.count[group] = static_cast<int32_t>(count);
}

// What the hypotheses that go on change in D, before any of it is committed.
void BeamTile::CarrySteps(const Block& block) {
  const int64_t in = shape_.in_group, out = shape_.out_group, m = shape_.codebooks;
  float* step = s_.carried.data();
  float* value = s_.target.data();
  for (int64_t g = 0; g < task_.count; ++g) {
    for (int64_t i = 0; i < s_.count[g]; ++i, step += out * kBeamStride) {
      const uint16_t* codes = s_.before.data() + (g * plan_.beam + i) * visits_;
      for (int64_t a = 0; a < out; ++a) {
        std::fill_n(step + a * kBeamStride, block.columns, 0.0f);
      }
      for (int64_t p = 0; p < block.groups; ++p, codes += m) {
        const int64_t j = InGroup(block.first + p);
        if (std::equal(codes, codes + m, Codes(g, j))) continue;
        DecodePatch(shape_, plan_.books, codes, Scale(g, j), value);
        for (int64_t a = 0; a < out; ++a) {
          const int64_t from = (g * out + a) * n_ + j * in;
          float* to = step + a * kBeamStride + p * in;
          for (int64_t b = 0; b < in; ++b) {
            to[b] = (task_.w[from + b] - value[a * in + b]) - task_.error[from + b];
          }
        }
      }
    }
  }
}

void BeamTile::ChooseBest() {
  for (int64_t g = 0; g < task_.count; ++g) {
    std::copy_n(s_.before.data() + g * plan_.beam * visits_, visits_, Chosen(g));
  }
}

}  // namespace quantd
