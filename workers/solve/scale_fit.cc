#include "workers/solve/scale_fit.h"

#include <algorithm>
#include <cmath>

#include "workers/core/float16.h"
#include "workers/linalg/dot.h"

namespace quantd {
namespace {

// A curvature below this share of the products it is the difference of is noise of F32.
constexpr double kNoise = 1e-6;

// Conjugate gradients over the scales of one tile.
class ScaleDescent {
 public:
  ScaleDescent(const CodebookProblem& problem, const CodebookTiles::Tile& tile,
               const ManyScales& arrays, const CancelToken& cancel)
      : problem_(problem), shape_(problem.shape), tile_(tile), a_(arrays), cancel_(cancel) {
    const int64_t numbers = tile.count * problem.scale_parameters;
    gradient_.resize(numbers);
    before_.resize(numbers);
    direction_.assign(numbers, 0.0);
    inverse_curvature_.assign(numbers, 0.0);
    fall_.assign(tile.count, 0.0);
  }

  void Run(int steps, float* parameters) {
    Curvatures();
    std::vector<double> at(parameters, parameters + gradient_.size());
    for (int step = 0; step < steps && !cancel_.cancelled(); ++step) {
      ScaleGradient(problem_, tile_, a_.unscaled, a_.product, a_.scale_codes, gradient_.data());
      for (int64_t i = 0; i < tile_.count; ++i) Turn(i, step == 0);
      ScaledDirection();
      const float* product =
          TimesMetric(problem_, tile_, a_.direction, a_.direction_product, cancel_);
      if (cancel_.cancelled()) return;
      for (int64_t i = 0; i < tile_.count; ++i) Move(i, product, at.data());
      before_ = gradient_;
    }
    for (size_t k = 0; k < at.size(); ++k) parameters[k] = static_cast<float>(at[k]);
  }

 private:
  int64_t Parameter(int64_t i, int64_t j) const {
    return i * problem_.scale_parameters +
           (problem_.tables ? a_.scale_codes[i * shape_.in_groups() + j] : j);
  }

  // 1 / sum of r_j H_jj r_j^T over the patches of each parameter.
  void Curvatures() {
    const int64_t ig = shape_.in_group;
    std::vector<float> block(ig * ig);
    for (int64_t j = 0; j < shape_.in_groups() && !cancel_.cancelled(); ++j) {
      if (!problem_.metric->identity()) problem_.metric->Block(j * ig, ig, block.data());
      for (int64_t k = 0; k < tile_.count * shape_.out_group; ++k) {
        const float* r = a_.unscaled + k * shape_.n + j * ig;
        inverse_curvature_[Parameter(k / shape_.out_group, j)] += Form(block.data(), r);
      }
    }
    for (double& c : inverse_curvature_) c = c > 0 ? 1 / c : 0;
  }

  double Form(const float* block, const float* r) const {
    const int64_t ig = shape_.in_group;
    double sum = 0;
    for (int64_t a = 0; a < ig; ++a) {
      double part = 0;
      if (problem_.metric->identity()) {
        part = r[a];
      } else {
        for (int64_t b = 0; b < ig; ++b) part += static_cast<double>(block[a * ig + b]) * r[b];
      }
      sum += part * r[a];
    }
    return sum;
  }

  // The next direction of an out group (Polak-Ribiere, restarted where it would go back).
  void Turn(int64_t i, bool first) {
    const int64_t begin = i * problem_.scale_parameters, end = begin + problem_.scale_parameters;
    double fall = 0, change = 0;
    for (int64_t k = begin; k < end; ++k) {
      const double z = gradient_[k] * inverse_curvature_[k];
      fall += z * gradient_[k];
      if (!first) change += z * (gradient_[k] - before_[k]);
    }
    const double beta = !first && fall_[i] > 0 ? std::max(0.0, change / fall_[i]) : 0;
    for (int64_t k = begin; k < end; ++k) {
      direction_[k] = gradient_[k] * inverse_curvature_[k] + beta * direction_[k];
    }
    fall_[i] = fall;
  }

  void ScaledDirection() {
    const int64_t ig = shape_.in_group;
    for (int64_t k = 0; k < tile_.count * shape_.out_group; ++k) {
      for (int64_t j = 0; j < shape_.in_groups(); ++j) {
        const float p = static_cast<float>(direction_[Parameter(k / shape_.out_group, j)]);
        const int64_t begin = k * shape_.n + j * ig;
        for (int64_t c = begin; c < begin + ig; ++c) a_.direction[c] = p * a_.unscaled[c];
      }
    }
  }

  // The exact minimum along the direction.
  void Move(int64_t i, const float* product, double* at) {
    const int64_t begin = i * problem_.scale_parameters, end = begin + problem_.scale_parameters;
    const int64_t numbers = shape_.out_group * shape_.n;
    const float* p = a_.direction + i * numbers;
    const float* ph = product + i * numbers;
    double gain = 0;
    for (int64_t k = begin; k < end; ++k) gain += gradient_[k] * direction_[k];
    const double length = gain / DotInDouble(p, ph, numbers);
    if (!(gain > 0) || !(length > 0) || !std::isfinite(static_cast<float>(length))) return;
    for (int64_t k = begin; k < end; ++k) at[k] += length * direction_[k];
    const float step = static_cast<float>(length);
    float* error = a_.error + i * numbers;
    for (int64_t c = 0; c < numbers; ++c) error[c] -= step * p[c];
    if (a_.product == a_.error) return;
    float* t = a_.product + i * numbers;
    for (int64_t c = 0; c < numbers; ++c) t[c] -= step * ph[c];
  }

  const CodebookProblem& problem_;
  const AdditiveShape& shape_;
  const CodebookTiles::Tile& tile_;
  const ManyScales& a_;
  const CancelToken& cancel_;
  std::vector<double> gradient_, before_, direction_, inverse_curvature_;
  std::vector<double> fall_;  // gradient . preconditioned gradient of each out group
};

}  // namespace

float NearestF16(float value) {
  const float most = MaxFinite(DType::kF16);
  return RoundTo(DType::kF16, std::clamp(value, -most, most));
}

float ScaleParabola::Best(float now, bool round_to_f16) const {
  float best = static_cast<float>(at + slope / curvature);
  if (round_to_f16) now = NearestF16(now);
  if (!(curvature > 0) || !std::isfinite(best)) return now;
  if (round_to_f16) best = NearestF16(best);
  return Loss(best) < Loss(now) ? best : now;
}

float NonzeroScale(float scale, const float* w, const float* r, int64_t count) {
  if (scale != 0) return scale;
  const double ratio = std::sqrt(DotInDouble(w, w, count) / DotInDouble(r, r, count));
  const float size = static_cast<float>(ratio);
  return std::isfinite(size) && size > 0 ? size : 1.0f;
}

ScaleParabola ParabolaOf(double at, const float* unscaled, const float* error, const float* product,
                         const float* weight_product, int64_t count) {
  constexpr int kRuns = 4;
  double loss[kRuns] = {}, slope[kRuns] = {}, weight[kRuns] = {}, size[kRuns] = {};
  const auto add = [&](int run, int64_t c) {
    const double r = unscaled[c], t = product[c];
    const double rt = r * t, rw = r * weight_product[c];
    loss[run] += error[c] * t;
    slope[run] += rt;
    weight[run] += rw;
    size[run] += std::fabs(rt) + std::fabs(rw);
  };
  int64_t c = 0;
  for (; c + kRuns <= count; c += kRuns) {
    for (int run = 0; run < kRuns; ++run) add(run, c + run);
  }
  for (int run = 0; c < count; ++c, ++run) add(run, c);
  const auto join = [](const double* v) { return (v[0] + v[2]) + (v[1] + v[3]); };
  ScaleParabola out;
  out.at = at;
  out.loss = join(loss);
  out.slope = join(slope);
  const double difference = join(weight) - out.slope;
  if (std::fabs(difference) > kNoise * join(size)) {
    out.curvature = std::max(0.0, difference / at);
  }
  return out;
}

void MoveScale(double at, float scale, const float* w, const float* unscaled,
               const float* weight_product, int64_t count, float* error, float* product) {
  for (int64_t c = 0; c < count; ++c) error[c] = w[c] - scale * unscaled[c];
  if (product == nullptr) return;
  const float kept = static_cast<float>(scale / at), rest = static_cast<float>(1 - scale / at);
  for (int64_t c = 0; c < count; ++c) product[c] = rest * weight_product[c] + kept * product[c];
}

void FitManyScales(const CodebookProblem& problem, const CodebookTiles::Tile& tile, int steps,
                   const ManyScales& arrays, const CancelToken& cancel, float* parameters) {
  ScaleDescent(problem, tile, arrays, cancel).Run(steps, parameters);
}

void ScaleGradient(const CodebookProblem& problem, const CodebookTiles::Tile& tile,
                   const float* unscaled, const float* product, const uint8_t* scale_codes,
                   double* out) {
  const AdditiveShape& shape = problem.shape;
  const int64_t numbers = shape.out_group * shape.n, columns = shape.scale_columns;
  std::fill(out, out + tile.count * problem.scale_parameters, 0.0);
  if (columns == 1) return OutGroupDots(problem, tile, unscaled, product, out);
  for (int64_t i = 0; i < tile.count; ++i) {
    double* sums = out + i * problem.scale_parameters;
    for (int64_t r = 0; r < shape.out_group; ++r) {
      const int64_t row = i * numbers + r * shape.n;
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t begin = row + j * shape.in_group;
        const int64_t k = problem.tables ? scale_codes[i * columns + j] : j;
        sums[k] += DotInDouble(unscaled + begin, product + begin, shape.in_group);
      }
    }
  }
}

}  // namespace quantd
