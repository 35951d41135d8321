#include "workers/engine/cost.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "workers/core/shape.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

// Share of the SGEMM rate that the solvers keep up over a whole layer, and the rate at which rows
// are fitted, rounded, packed and measured; both measured by tests/bench on two cores.
constexpr double kSolverEfficiency = 0.7;
constexpr double kRowBytesPerSecond = 3.5e9;

// Flops a second of one thread's SGEMM, measured once.
double GemmRate() {
  static const double rate = [] {
    constexpr int64_t kSize = 384;
    std::vector<float> a(kSize * kSize, 1.0f), b(kSize * kSize, 1.0f), c(kSize * kSize);
    double best = 1;
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      Gemm(false, false, kSize, kSize, kSize, 1.0f, a.data(), kSize, b.data(), kSize, 0.0f,
           c.data(), kSize);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      best = std::max(best, 2.0 * kSize * kSize * kSize / std::max(1e-6, took.count()));
    }
    return best;
  }();
  return rate;
}

// Engine's own arrays for one stripe: source rows, decoded rows, two sets of codes, parameters.
uint64_t StripeBytes(const Spec& spec, int64_t rows, int64_t n) {
  const uint64_t area = static_cast<uint64_t>(rows) * static_cast<uint64_t>(n);
  return area * (4 + 4 + 1 + 1) + 12 * static_cast<uint64_t>(rows) * spec.partition.GroupsPerRow(n);
}

double Seconds(double flops, double bytes, int width) {
  return flops / (GemmRate() * width * kSolverEfficiency) + bytes / (kRowBytesPerSecond * width);
}

}  // namespace

Cost QuantizeCost(const QuantizeJob& job, const Method& method, const Layout& layout,
                  Statistics statistics, int64_t n, int width) {
  Cost cost;
  const uint64_t square = static_cast<uint64_t>(n) * static_cast<uint64_t>(n);
  const bool has_h = statistics != Statistics::kNone;
  if (has_h && method.NeedsHessian()) cost.flops += method.GroupFlops(job.spec, n);

  uint64_t weights = 0, elements = 0, scratch = 0;
  std::vector<uint64_t> input, output;
  for (const TensorDecl& t : job.tensors) {
    const uint64_t bytes = *CheckedBytes(t.shape, t.dtype, t.name);
    cost.input_bytes += bytes;
    if (t.role == Role::kActivations) {
      cost.flops += static_cast<double>(t.shape[0]) * static_cast<double>(square);
    }
    if (t.role != Role::kWeight) continue;
    const int64_t m = t.shape[0];
    input.push_back(bytes);
    output.push_back(PackedBytes(layout, job.spec, m, n));
    weights += bytes;
    elements += static_cast<uint64_t>(m) * static_cast<uint64_t>(n);
    cost.output_bytes += output.back();
    cost.flops += method.WeightFlops(job.spec, m, n);
    // Energies of W and of the baseline's error; the sweep has its own at hand. Through a factor
    // each costs half a product with H.
    if (has_h) {
      const double product = static_cast<double>(m) * static_cast<double>(square);
      cost.flops += (method.NeedsHessian() ? 2.0 : 4.0) * product;
    }
    const int64_t rows = std::min(m, method.StripeRows(m, n, has_h));
    scratch = std::max(
        scratch, StripeBytes(job.spec, rows, n) + method.ScratchBytes(job.spec, rows, n, has_h));
  }
  const uint64_t hessian = has_h ? 4 * square : 0;
  const uint64_t upload =
      weights + (statistics == Statistics::kActivations
                     ? 8 * square + 4 * static_cast<uint64_t>(n) * HessianAccumulator::kBlockRows
                     : hessian);
  uint64_t run = 0, left = weights, done = 0;
  for (size_t i = 0; i < input.size(); ++i) {
    done += output[i];
    run = std::max(run, left + done);
    left -= input[i];
  }
  run += hessian + scratch * static_cast<uint64_t>(width);
  cost.peak_bytes = std::max(upload, run) + kFrameBytes;
  cost.seconds = Seconds(cost.flops, 4.0 * static_cast<double>(elements), width);
  return cost;
}

Cost DequantizeCost(const DequantizeJob& job, int width) {
  Cost cost;
  uint64_t scratch = 0;
  for (const TensorDecl& t : job.tensors)
    cost.input_bytes += *CheckedBytes(t.shape, t.dtype, t.name);
  for (const PackedWeight& w : job.weights) {
    cost.output_bytes += static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.cols) *
                         DTypeBytes(job.output_dtype);
    scratch = std::max(scratch, StripeBytes(w.spec, Layout::kStripeGranule, w.cols));
  }
  cost.peak_bytes =
      cost.input_bytes + cost.output_bytes + scratch * static_cast<uint64_t>(width) + kFrameBytes;
  cost.seconds = Seconds(0, static_cast<double>(cost.output_bytes), width);
  return cost;
}

}  // namespace quantd
