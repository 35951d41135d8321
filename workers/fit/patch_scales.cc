#include "workers/fit/patch_scales.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "workers/core/float16.h"
#include "workers/fit/kmeans.h"

namespace quantd {
namespace {

constexpr float kLeast = 0x1p-24f;  // of F16's positive numbers

float StoredScale(float scale) {
  const float largest = MaxFinite(DType::kF16);
  return RoundTo(DType::kF16, std::clamp(scale, kLeast, largest));
}

// Working memory of one out group.
struct Scratch {
  std::vector<float> weights;  // [n]
  std::vector<double> norm;    // [scale_columns] squared
  std::vector<float> some;     // norms of patches that are not 0
  KMeansScratch kmeans;
};

void SquaredNorms(const AdditiveShape& shape, const WeightView& weight, int64_t out_group,
                  Scratch* scratch) {
  scratch->weights.resize(shape.n);
  scratch->norm.assign(shape.scale_columns, 0.0);
  const int64_t width = shape.n / shape.scale_columns;
  for (int64_t a = 0; a < shape.out_group; ++a) {
    weight.ReadRows(out_group * shape.out_group + a, 1, scratch->weights.data());
    for (int64_t k = 0; k < shape.scale_columns; ++k) {
      const float* w = &scratch->weights[k * width];
      double sum = 0;
      for (int64_t j = 0; j < width; ++j) sum += static_cast<double>(w[j]) * w[j];
      scratch->norm[k] += sum;
    }
  }
}

// What is stored of a scale; 1 for zeros.
float ScaleOf(double squared_norm) {
  if (squared_norm == 0) return 1.0f;
  return StoredScale(static_cast<float>(std::sqrt(squared_norm) + 1e-9));
}

void TableScales(int bits, int64_t out_group, Scratch* scratch, AdditiveCode* code) {
  const int64_t count = static_cast<int64_t>(scratch->norm.size()), size = int64_t{1} << bits;
  const float largest = MaxFinite(DType::kF16);
  scratch->some.clear();
  for (const double norm : scratch->norm) {
    if (norm == 0) continue;
    const double scale = std::sqrt(norm) + 1e-9;
    scratch->some.push_back(static_cast<float>(std::min<double>(scale, largest)));
  }
  float* table = &code->scale_tables[out_group * size];
  std::fill_n(table, size, 1.0f);
  if (!scratch->some.empty()) {
    KMeans1D(scratch->some.data(), nullptr, static_cast<int64_t>(scratch->some.size()),
             static_cast<int>(size), &scratch->kmeans, table);
    for (int64_t t = 0; t < size; ++t) table[t] = StoredScale(table[t]);
  }
  for (int64_t k = 0; k < count; ++k) {
    int64_t best = 0;
    if (scratch->norm[k] > 0) {
      const double scale = std::sqrt(scratch->norm[k]) + 1e-9;
      for (int64_t t = 1; t < size; ++t) {
        if (std::abs(table[t] - scale) < std::abs(table[best] - scale)) best = t;
      }
    }
    code->scale_codes[out_group * count + k] = static_cast<uint8_t>(best);
    code->scales[out_group * count + k] = table[best];
  }
}

}  // namespace

void ReshapePatchScales(const Spec& spec, const AdditiveShape& shape, AdditiveCode* code) {
  code->scales.assign(shape.out_groups() * shape.scale_columns, 1.0f);
  if (spec.storage.kind != StorageKind::kTable) return;
  code->scale_tables.assign(shape.out_groups() << spec.storage.bits, 1.0f);
  code->scale_codes.assign(code->scales.size(), 0);
}

void FitPatchScales(const Spec& spec, const AdditiveShape& shape, const WeightView& weight,
                    int64_t begin, int64_t end, Executor& executor, const CancelToken& cancel,
                    AdditiveCode* code) {
  constexpr int64_t kRun = 16;
  executor.ParallelFor((end - begin + kRun - 1) / kRun, [&](int64_t run) {
    Scratch scratch;
    const int64_t first = begin + run * kRun;
    for (int64_t i = first; i < std::min(end, first + kRun) && !cancel.cancelled(); ++i) {
      SquaredNorms(shape, weight, i, &scratch);
      if (spec.storage.kind == StorageKind::kTable) {
        TableScales(spec.storage.bits, i, &scratch, code);
        continue;
      }
      for (int64_t k = 0; k < shape.scale_columns; ++k) {
        code->scales[i * shape.scale_columns + k] = ScaleOf(scratch.norm[k]);
      }
    }
  });
}

}  // namespace quantd
