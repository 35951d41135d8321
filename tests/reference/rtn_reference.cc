#include "tests/reference/rtn_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "workers/core/float16.h"

namespace quantd::reference {
namespace {

float RawScale(const Spec& spec, float lo, float hi) {
  const float max_code = static_cast<float>(spec.levels.max_code());
  const float middle = static_cast<float>(spec.levels.middle_code());
  const float largest = std::max(-lo, hi);
  switch (spec.levels.symmetry) {
    case Symmetry::kAsymmetric:
      return (hi - lo) / max_code;
    case Symmetry::kSymmetricMinMax:
      return 2.0f * largest / max_code;
    case Symmetry::kSymmetricAbsMax:
      return largest / (middle - 1.0f);
    default:
      return (-lo >= hi ? lo : hi) / -middle;
  }
}

void FindRange(const float* values, int64_t count, float* lo, float* hi) {
  *lo = *hi = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    *lo = std::min(*lo, values[i]);
    *hi = std::max(*hi, values[i]);
  }
}

GroupParams ParamsAt(const Coded& coded, int64_t row, int64_t column) {
  const int64_t at = row * coded.groups + coded.GroupOf(column);
  return {coded.scales[at], coded.zeros[at], false};
}

}  // namespace

GroupParams FitRange(const Spec& spec, float lo, float hi) {
  if (lo == 0.0f && hi == 0.0f) return {1.0f, spec.levels.middle_code(), false};
  GroupParams p;
  p.scale = RoundTo(spec.scale_dtype, RawScale(spec, lo, hi));
  if (std::fabs(p.scale) < MinNormal(spec.scale_dtype)) {
    p.scale = std::copysign(MinNormal(spec.scale_dtype), p.scale);
  }
  if (std::fabs(p.scale) > MaxFinite(spec.scale_dtype)) {
    p.overflow = true;
    p.scale = std::copysign(MaxFinite(spec.scale_dtype), p.scale);
  }
  p.zero = spec.levels.middle_code();
  if (!spec.levels.symmetric()) {
    const float inverse = 1.0f / p.scale;
    const float z = std::nearbyint(-lo * inverse);
    p.zero = static_cast<int>(std::clamp(z, 0.0f, static_cast<float>(spec.levels.max_code())));
  }
  return p;
}

uint8_t Encode(const AffineInt& levels, const GroupParams& params, float w) {
  const float inverse = 1.0f / params.scale;
  const float z = static_cast<float>(params.zero);
  const float x = std::clamp(w * inverse, -z, static_cast<float>(levels.max_code()) - z);
  return static_cast<uint8_t>(static_cast<int>(std::nearbyint(x)) + params.zero);
}

float Decode(const GroupParams& params, uint8_t code) {
  return static_cast<float>(static_cast<int>(code) - params.zero) * params.scale;
}

double GroupError(const Spec& spec, const GroupParams& params, const float* values, int64_t count) {
  float lane[16] = {};
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float d = values[i] - Decode(params, Encode(spec.levels, params, values[i]));
    lane[i % 16] += d * d;
    sum += std::pow(std::fabs(d), spec.fit.norm);
  }
  if (spec.fit.norm != 2.0) return sum;
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

GroupParams FitValues(const Spec& spec, const float* values, int64_t count) {
  float lo, hi;
  FindRange(values, count, &lo, &hi);
  if (spec.fit.kind != FitKind::kShrinkSearch) return FitRange(spec, lo, hi);
  GroupParams best;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= spec.fit.steps; ++i) {
    const float factor = static_cast<float>(1.0 - i * (1.0 - spec.fit.shrink_to) / spec.fit.steps);
    const GroupParams candidate = FitRange(spec, lo * factor, hi * factor);
    const double error = candidate.overflow ? std::numeric_limits<double>::infinity()
                                            : GroupError(spec, candidate, values, count);
    if (i == 0 || error < least) {
      best = candidate;
      least = error;
    }
  }
  return best;
}

Coded Rtn(const Spec& spec, const float* w, int64_t m, int64_t n) {
  Coded out;
  out.Reshape(spec, 0, m, n);
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t g = 0; g < out.groups; ++g) {
      const int64_t begin = g * out.group_columns;
      const int64_t end = std::min(n, begin + out.group_columns);
      const GroupParams p = FitValues(spec, w + r * n + begin, end - begin);
      out.scales[r * out.groups + g] = p.scale;
      out.zeros[r * out.groups + g] = static_cast<uint8_t>(p.zero);
      for (int64_t j = begin; j < end; ++j) {
        out.codes[r * n + j] = Encode(spec.levels, p, w[r * n + j]);
      }
    }
  }
  return out;
}

std::vector<float> Dequantize(const Coded& coded) {
  std::vector<float> out(coded.rows * coded.cols);
  for (int64_t r = 0; r < coded.rows; ++r) {
    for (int64_t j = 0; j < coded.cols; ++j) {
      out[r * coded.cols + j] = Decode(ParamsAt(coded, r, j), coded.codes[r * coded.cols + j]);
    }
  }
  return out;
}

ErrorMeasures Measure(const Coded& coded, const float* w) {
  const std::vector<float> decoded = Dequantize(coded);
  long double weight = 0, square = 0, cross = 0, error = 0, largest = 0;
  int64_t clipped = 0;
  for (int64_t i = 0; i < coded.rows * coded.cols; ++i) {
    const long double a = w[i], b = decoded[i], d = a - b;
    weight += a * a;
    square += b * b;
    cross += a * b;
    error += d * d;
    largest = std::max(largest, std::fabs(d));
    const GroupParams p = ParamsAt(coded, i / coded.cols, i % coded.cols);
    const float x = w[i] * (1.0f / p.scale);
    clipped += x < -p.zero - 0.5f || x > coded.levels.max_code() - p.zero + 0.5f;
  }
  const long double count = static_cast<long double>(coded.rows) * coded.cols;
  ErrorMeasures m;
  m.weight_mse = static_cast<double>(error / count);
  m.weight_relative_error = weight > 0 ? static_cast<double>(error / weight) : 0;
  if (weight > 0) {
    m.sqnr_db = error > 0 ? static_cast<double>(10 * std::log10(weight / error)) : kExactSqnrDb;
  }
  m.max_abs_error = static_cast<double>(largest);
  m.cosine = weight > 0 && square > 0
                 ? static_cast<double>(cross / (std::sqrt(weight) * std::sqrt(square)))
                 : (weight == 0 && square == 0 ? 1.0 : 0.0);
  m.clipped_share = static_cast<double>(clipped / count);
  return m;
}

}  // namespace quantd::reference
