#include "workers/engine/cost.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "workers/calib/hessian.h"
#include "workers/compose/group_solver.h"
#include "workers/compose/plan.h"
#include "workers/core/shape.h"
#include "workers/levels/additive.h"
#include "workers/linalg/blas.h"
#include "workers/methods/check.h"

namespace quantd {
namespace {

// Share of the SGEMM rate that the solvers keep up over a whole layer, and the rate at which rows
// are fitted, rounded, packed and measured; both measured by tests/bench on two cores.
constexpr double kSolverEfficiency = 0.7;
constexpr double kRowBytesPerSecond = 3.5e9;
// One TensorReport with its texts.
constexpr uint64_t kReportBytes = 1536;

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
uint64_t StripeBytes(const Spec& spec, int64_t m, int64_t rows, int64_t n) {
  const uint64_t area = static_cast<uint64_t>(rows) * static_cast<uint64_t>(n);
  if (spec.levels.additive()) {
    const AdditiveShape shape = AdditiveShape::Of(spec, rows, n);
    const uint64_t per_scale = spec.storage.kind == StorageKind::kTable ? 5 : 4;
    uint64_t coded = 2 * static_cast<uint64_t>(shape.codes()) +
                     per_scale * static_cast<uint64_t>(shape.out_groups() * shape.scale_columns);
    if (spec.storage.kind == StorageKind::kTable) {
      coded += static_cast<uint64_t>(4 * shape.out_groups()) << spec.storage.bits;
    }
    // The baseline's codes and its scales beside the decoded rows.
    return area * (4 + 4 + 1) + area / 8 + 2 * coded;
  }
  const uint64_t per_group = 12 + 4 * static_cast<uint64_t>(spec.levels.table_numbers());
  const uint64_t groups = static_cast<uint64_t>(CeilDiv(rows, spec.partition.GroupRows(m))) *
                          static_cast<uint64_t>(spec.partition.GroupsPerRow(n));
  return area * (4 + 4 + 1 + 1) + per_group * groups;
}

double Seconds(double flops, double bytes, int width) {
  return flops / (GemmRate() * width * kSolverEfficiency) + bytes / (kRowBytesPerSecond * width);
}

}  // namespace

namespace {

// One weight at its worst moment.
struct WeightCost {
  uint64_t output = 0;   // delivered at most
  uint64_t working = 0;  // beside it: the second candidate, what one pass leaves to the next
  uint64_t scratch = 0;  // of all threads
  double flops = 0;
};

WeightCost CostOf(const Spec& asked, const Layout& layout, int64_t m, int64_t n, bool has_h,
                  bool in_place, int width) {
  WeightCost cost;
  const double product = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(n);
  const std::vector<Spec> candidates = CandidatesOf(asked, m, n);
  for (const Spec& spec : candidates) {
    cost.output = std::max(cost.output, PackedBytes(layout, spec, m, n));
    cost.working = std::max(cost.working, WeightBytes(spec, m, n, has_h) + SharedBytes(spec));
    cost.flops += WeightFlops(spec, m, n, has_h);
    // Energies of W and of the baseline's error; the sweep has its own at hand. Through a factor
    // each costs half a product with H.
    if (has_h) cost.flops += (spec.solve.solver == Solver::kGptq ? 2.0 : 4.0) * product;
    const Stripes stripes = PlanStripes(spec, m, n, layout.StripeGranule(spec), has_h);
    const int64_t rows = std::min(m, stripes.solve_rows), part = std::min(m, stripes.measure_rows);
    // Rows that are no F32, or stored in another order, are read into an array of their own.
    const uint64_t copy = in_place && !spec.partition.strided
                              ? 0
                              : 4 * static_cast<uint64_t>(rows) * static_cast<uint64_t>(n);
    const uint64_t solve = SolveBytes(spec, rows, n) + (rows > part ? copy : 0);
    const uint64_t measure = StripeBytes(spec, m, part, n) + MeasureBytes(spec, part, n, has_h);
    // Rows that are solved all together keep one thread's arrays, and free them before the
    // measures.
    cost.scratch =
        std::max(cost.scratch, rows == m && rows > part ? std::max(solve, measure * width)
                                                        : (solve + measure) * width);
    cost.scratch = std::max(cost.scratch, WholeSolveBytes(spec, m, n) * width);
  }
  if (candidates.size() > 1) cost.working += cost.output;
  return cost;
}

uint64_t UploadPeak(const std::vector<TensorDecl>& tensors, const QuantizeShape& shape) {
  const uint64_t square = static_cast<uint64_t>(shape.n) * static_cast<uint64_t>(shape.n);
  uint64_t bytes = 0;
  for (int i = 0; i < static_cast<int>(tensors.size()); ++i) {
    const TensorDecl& t = tensors[i];
    if (t.role == Role::kActivations) {
      bytes += 8 * square + 4 * static_cast<uint64_t>(shape.n) * HessianAccumulator::kBlockRows;
    } else if (i == shape.statistics) {
      bytes += 4 * square;
    } else if (t.role == Role::kWeight || t.role == Role::kFisher || t.role == Role::kGradient ||
               t.role == Role::kCodes || t.role == Role::kCheckpoint) {
      bytes += *CheckedBytes(t.shape, t.dtype, t.name);
    } else {
      bytes += *CheckedBytes(t.shape, DType::kF32, t.name);
    }
  }
  return bytes;
}

uint64_t BytesOfWeight(const std::vector<TensorDecl>& tensors, const QuantizeShape& shape,
                       size_t w) {
  uint64_t bytes = 0;
  for (const int i : {shape.weights[w], shape.fisher[w], shape.gradient[w]}) {
    if (i < 0) continue;
    bytes += *CheckedBytes(tensors[i].shape, tensors[i].dtype, tensors[i].name);
  }
  return bytes;
}

// Uploaded bytes that lie until weight `w` is done.
uint64_t HeldFor(const QuantizeJob& job, const QuantizeShape& shape, size_t w) {
  uint64_t bytes = BytesOfWeight(job.tensors, shape, w);
  if (shape.codebooks[w] >= 0) {
    bytes += *CheckedBytes(job.tensors[shape.codebooks[w]].shape, DType::kF32, "");
    // One for each patch, whatever came.
    const AdditiveShape code =
        AdditiveShape::Of(job.spec, job.tensors[shape.weights[w]].shape[0], shape.n);
    bytes += 4 * static_cast<uint64_t>(code.out_groups() * code.scale_columns);
  }
  if (shape.codes[w] >= 0) {
    bytes += *CheckedBytes(job.tensors[shape.codes[w]].shape, DType::kU16, "");
  }
  return bytes;
}

// States of the job in the making: each weight's own, one that was put together, and one that is
// still being sent.
uint64_t HeldStates(const QuantizeJob& job, const QuantizeShape& shape) {
  uint64_t bytes = 0;
  if (shape.checkpoint >= 0) bytes += job.tensors[shape.checkpoint].shape[0];
  if (job.checkpoint_seconds == 0) return bytes;
  for (const int i : shape.weights) {
    bytes += 3 * StateBytes(job.spec, job.tensors[i].shape[0], shape.n);
  }
  return bytes;
}

// Bytes that come, and the work of folding activations into H.
void CountUploads(const std::vector<TensorDecl>& tensors, int64_t n, Cost* cost) {
  for (const TensorDecl& t : tensors) {
    cost->input_bytes += *CheckedBytes(t.shape, t.dtype, t.name);
    if (t.role == Role::kActivations) {
      cost->flops +=
          static_cast<double>(t.shape[0]) * static_cast<double>(n) * static_cast<double>(n);
    }
  }
}

}  // namespace

Cost QuantizeCost(const QuantizeJob& job, const Layout& layout, const QuantizeShape& shape,
                  int width) {
  Cost cost;
  const bool has_h = shape.statistics >= 0;
  const int64_t n = shape.n;
  const uint64_t square = static_cast<uint64_t>(n) * static_cast<uint64_t>(n);
  uint64_t elements = 0, held = 0;
  CountUploads(job.tensors, n, &cost);
  for (size_t w = 0; w < shape.weights.size(); ++w) held += HeldFor(job, shape, w);
  if (has_h) cost.flops += GroupFlops(job.spec, n);

  uint64_t run = 0, scratch = 0;
  for (size_t w = 0; w < shape.weights.size(); ++w) {
    const TensorDecl& t = job.tensors[shape.weights[w]];
    const WeightCost one =
        CostOf(job.spec, layout, t.shape[0], n, has_h, t.dtype == DType::kF32, width);
    elements += static_cast<uint64_t>(t.shape[0]) * static_cast<uint64_t>(n);
    cost.output_bytes += one.output;
    cost.flops += one.flops;
    scratch = std::max(scratch, one.scratch);
    run = std::max(run, held + cost.output_bytes + one.working);
    held -= HeldFor(job, shape, w);
  }
  run += (has_h ? 4 * square : 0) + GroupBytes(job.spec, n) + scratch + HeldStates(job, shape);
  cost.peak_bytes = std::max(UploadPeak(job.tensors, shape), run) + kFrameBytes;
  cost.seconds = Seconds(cost.flops, 4.0 * static_cast<double>(elements), width);
  return cost;
}

Cost MeasureCost(const MeasureJob& job, const Layout& layout, const MeasureShape& shape,
                 int width) {
  Cost cost;
  const QuantizeShape& tensors = shape.tensors;
  const bool has_h = tensors.statistics >= 0;
  const int64_t n = tensors.n;
  const uint64_t square = has_h ? static_cast<uint64_t>(n) * static_cast<uint64_t>(n) : 0;
  CountUploads(job.tensors, n, &cost);
  uint64_t held = 4 * square, elements = 0, run = 0;
  for (size_t w = 0; w < tensors.weights.size(); ++w) {
    held += BytesOfWeight(job.tensors, tensors, w);
  }
  for (const PreparationSet& set : shape.sets) {
    if (has_h) cost.flops += GroupFlops(job.candidates[set.front()], n);
  }
  for (size_t c = 0; c < job.candidates.size(); ++c) {
    const Spec& spec = job.candidates[c];
    uint64_t group = GroupBytes(spec, n);
    // An H of its own; a cross moment is counted by GroupBytes.
    if (!GroupSolver::KeepsInputs(spec)) group += 4 * square;
    if (tensors.cross_moment >= 0) group += 4 * square;
    for (size_t w = 0; w < tensors.weights.size(); ++w) {
      if (!shape.unfit[c][w].empty()) continue;
      const TensorDecl& t = job.tensors[tensors.weights[w]];
      const WeightCost one =
          CostOf(spec, layout, t.shape[0], n, has_h, t.dtype == DType::kF32, width);
      run = std::max(run, held + group + one.output + one.working + one.scratch);
      cost.flops += one.flops;
      elements += static_cast<uint64_t>(t.shape[0]) * static_cast<uint64_t>(n);
    }
  }
  // Reports with their texts, twice while they are put in order.
  run += 2 * kReportBytes * tensors.weights.size() * job.candidates.size();
  cost.peak_bytes = std::max(UploadPeak(job.tensors, tensors), run) + kFrameBytes;
  cost.seconds = Seconds(cost.flops, 4.0 * static_cast<double>(elements), width);
  return cost;
}

Cost DequantizeCost(const DequantizeJob& job, const Layout& layout, int width) {
  Cost cost;
  uint64_t scratch = 0, shared = 0;
  for (const TensorDecl& t : job.tensors)
    cost.input_bytes += *CheckedBytes(t.shape, t.dtype, t.name);
  for (const PackedWeight& w : job.weights) {
    cost.output_bytes += static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.cols) *
                         DTypeBytes(job.output_dtype);
    shared = std::max(shared, SharedBytes(w.spec));
    scratch = std::max(
        scratch,
        StripeBytes(
            w.spec, w.rows,
            PlanStripes(w.spec, w.rows, w.cols, layout.StripeGranule(w.spec), false).measure_rows,
            w.cols));
  }
  cost.peak_bytes = cost.input_bytes + cost.output_bytes + shared +
                    scratch * static_cast<uint64_t>(width) + kFrameBytes;
  cost.seconds = Seconds(0, static_cast<double>(cost.output_bytes), width);
  return cost;
}

}  // namespace quantd
