#include "workers/solve/beam_search.h"

#include <algorithm>
#include <numeric>

#include "workers/fit/sampling.h"
#include "workers/linalg/entry_scan.h"
#include "workers/solve/beam_tile.h"

namespace quantd {
namespace {

void Shuffle(int32_t* values, int64_t count, SplitMix64* random) {
  for (int64_t i = count - 1; i > 0; --i) {
    std::swap(values[i], values[random->Below(static_cast<uint64_t>(i + 1))]);
  }
}

}  // namespace

BeamPass::BeamPass(const AdditiveShape& shape, const Metric& metric, const float* books, int beam,
                   uint64_t seed)
    : shape_(shape),
      metric_(metric),
      books_(books),
      beam_(beam),
      patch_order_(shape.in_groups()),
      book_order_(shape.in_groups() * shape.codebooks),
      entries_t_(shape.book_numbers()) {
  SplitMix64 random(seed);
  std::iota(patch_order_.begin(), patch_order_.end(), 0);
  Shuffle(patch_order_.data(), shape.in_groups(), &random);
  for (int64_t j = 0; j < shape.in_groups(); ++j) {
    int32_t* books_of = book_order_.data() + j * shape.codebooks;
    std::iota(books_of, books_of + shape.codebooks, 0);
    Shuffle(books_of, shape.codebooks, &random);
  }
  const int64_t patch = shape.patch(), entries = shape.entries;
  for (int64_t m = 0; m < shape.codebooks; ++m) {
    const float* from = books + m * entries * patch;
    float* to = entries_t_.data() + m * entries * patch;
    for (int64_t c = 0; c < entries; ++c) {
      for (int64_t i = 0; i < patch; ++i) to[i * entries + c] = from[c * patch + i];
    }
  }
}

int64_t BeamPass::OutGroupsAtOnce() const {
  return std::max<int64_t>(1, BeamTileRows(shape_, beam_) / shape_.out_group);
}

void BeamPass::Run(const float* w, const float* scales, const uint8_t* free, int64_t count,
                   uint16_t* codes, float* error, float* product, double* loss,
                   BeamScratch* scratch, const CancelToken& cancel) const {
  const BeamPlan plan = {
      shape_, metric_,          books_, entries_t_.data(), patch_order_.data(), book_order_.data(),
      beam_,  ActiveEntryScan()};
  const BeamTask task = {w, scales, free, count, codes, error, product, loss};
  BeamTile(plan, task, scratch, cancel).Run();
}

uint64_t BeamBytes(const AdditiveShape& shape, int beam) {
  const int64_t patch = shape.patch();
  const int64_t groups = std::max<int64_t>(1, BeamTileRows(shape, beam) / shape.out_group);
  const int64_t rows = groups * shape.out_group, visits = BeamTile::BlockVisits(shape);
  const int64_t lines = rows * beam, codes = shape.in_groups() * shape.codebooks;
  int64_t bytes = 4 * kBeamColumns * (shape.n + 16 + 3 * kBeamStride);   // of H
  bytes += 2 * groups * (codes + visits) + 4 * kBeamStride * 3 * rows;   // base, step
  bytes += 4 * kBeamStride * lines + 16 * groups * patch + 32 * groups;  // t, one visit
  bytes += 4 * (beam > 1 ? visits : 1) * shape.entries + 8 * groups;
  if (beam > 1) {
    bytes += 4 * kBeamStride * lines + 2 * groups * beam * visits + 8 * groups * beam;
    bytes += 8 * kBeamScanned * shape.entries;
    bytes += 2 * beam * (4 * kBeamStride * shape.out_group + 2 * visits + 12 * patch + 32);
  }
  return static_cast<uint64_t>(bytes);
}

}  // namespace quantd
