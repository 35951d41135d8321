// Beam search with one hypothesis: a visit is worked on for all out groups of the tile at once.
#include <algorithm>

#include "workers/solve/beam_tile.h"
#include "workers/solve/sweep_kernels.h"

namespace quantd {
namespace {

// Multiply-adds of one scan: some ms, so that a cancelled job is left in time.
constexpr int64_t kScanMacs = 200'000'000;

}  // namespace

void BeamTile::SearchSingle(const Block& block) {
  for (int64_t g = 0; g < task_.count; ++g) {
    uint16_t* to = Chosen(g);
    for (int64_t p = 0; p < block.groups; ++p, to += shape_.codebooks) {
      std::copy_n(Codes(g, InGroup(block.first + p)), shape_.codebooks, to);
    }
  }
  std::copy_n(s_.base[0].data(), rows_ * kBeamStride, s_.t.data());
  for (int64_t at = 0; at < block.groups && !stopped(); ++at) {
    s_.active.clear();
    for (int64_t g = 0; g < task_.count; ++g) {
      if (Free(g, InGroup(block.first + at))) s_.active.push_back(static_cast<int32_t>(g));
    }
    if (s_.active.empty()) continue;
    std::fill_n(s_.delta.begin(), s_.active.size() * shape_.patch(), 0.0f);
    const int32_t* books = plan_.book_order + InGroup(block.first + at) * shape_.codebooks;
    for (int64_t m = 0; m < shape_.codebooks; ++m) VisitSingle(block, at, books[m]);
    if (!plan_.metric.identity()) SpreadSingle(block, at);
  }
}

// Targets of the visit, both times s: T without what the entry in use adds to it. The part that
// stands for changes of this in group by earlier codebooks is not in T yet.
template <int kIn>
void BeamTile::PrepareTargets(const Block& block, int64_t at, int64_t book) {
  const int64_t in = kIn > 0 ? kIn : shape_.in_group, out = shape_.out_group, patch = out * in;
  const int64_t j = InGroup(block.first + at);
  const float* books = plan_.books + book * shape_.entries * patch;
  const float* delta = s_.delta.data();
  float* target = s_.target.data();
  float* entry = s_.entry.data();
  for (size_t k = 0; k < s_.active.size(); ++k) {
    const int64_t g = s_.active[k];
    const int32_t code = Chosen(g)[at * shape_.codebooks + book];
    const float s = Scale(g, j);
    const float* old = books + code * patch;
    const float* t = s_.t.data() + g * out * kBeamStride + at * in;
    s_.best[k] = code;
    s_.squared[k] = s * s;
    for (int64_t a = 0; a < out; ++a, t += kBeamStride) {
      for (int64_t b = 0; b < in; ++b) {
        target[b] = s * t[b];
        entry[b] = s * (s * old[b] + delta[b]);
      }
      target += in;
      entry += in;
      delta += in;
      old += in;
    }
  }
}

void BeamTile::VisitSingle(const Block& block, int64_t at, int64_t book) {
  const int64_t in = shape_.in_group, out = shape_.out_group, patch = shape_.patch();
  const int64_t active = static_cast<int64_t>(s_.active.size()), entries = shape_.entries;
  const float* h = s_.metric[0].data() + at * in * kBeamStride + at * in;
  const float* entries_t = plan_.entries_t + book * patch * entries;
  plan_.scan.energy(entries_t, entries, out, in, h, kBeamStride, s_.energy.data());
  if (in == 8 && out == 1) {
    PrepareTargets<8>(block, at, book);
  } else if (in == 4 && out == 1) {
    PrepareTargets<4>(block, at, book);
  } else {
    PrepareTargets<0>(block, at, book);
  }
  plan_.scan.add_product(s_.entry.data(), h, kBeamStride, active * out, in, s_.target.data());
  const int64_t at_once = std::max<int64_t>(16, kScanMacs / (entries * patch));
  for (int64_t k = 0; k < active && !stopped(); k += at_once) {
    plan_.scan.best(entries_t, s_.energy.data(), entries, patch, s_.target.data() + k * patch,
                    s_.squared.data() + k, std::min(at_once, active - k), s_.best.data() + k,
                    s_.score.data() + k);
  }
  const float* books = plan_.books + book * entries * patch;
  for (int64_t k = 0; k < active; ++k) {
    const int64_t g = s_.active[k];
    uint16_t& code = Chosen(g)[at * shape_.codebooks + book];
    if (code == s_.best[k]) continue;
    const float s = Scale(g, InGroup(block.first + at));
    const float *was = books + code * patch, *is = books + s_.best[k] * patch;
    float* delta = s_.delta.data() + k * patch;
    for (int64_t i = 0; i < patch; ++i) delta[i] += s * (was[i] - is[i]);
    code = static_cast<uint16_t>(s_.best[k]);
  }
}

void BeamTile::SpreadSingle(const Block& block, int64_t at) {
  const int64_t in = shape_.in_group, out = shape_.out_group, m = shape_.codebooks;
  const int64_t later = (at + 1) * in;
  if (later == block.columns) return;
  const float* h = s_.metric[0].data() + at * in * kBeamStride + later;
  const SweepKernels& kernels = ActiveSweepKernels();
  for (size_t k = 0; k < s_.active.size(); ++k) {
    const int64_t g = s_.active[k];
    const uint16_t* chosen = Chosen(g) + at * m;
    if (std::equal(chosen, chosen + m, Codes(g, InGroup(block.first + at)))) continue;
    for (int64_t a = 0; a < out; ++a) {
      kernels.gather(h, kBeamStride, s_.delta.data() + (k * out + a) * in, in,
                     block.columns - later, s_.t.data() + (g * out + a) * kBeamStride + later);
    }
  }
}

}  // namespace quantd
