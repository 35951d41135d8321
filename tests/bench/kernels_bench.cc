// The numeric kernels against what the same machine gives in the same run: memcpy and SGEMM.
//
// run.py turns the figures into the ratios of docs/performance.md.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "benchmark/benchmark.h"
#include "tests/reference/synthetic.h"
#include "workers/calib/factor.h"
#include "workers/core/packed.h"
#include "workers/engine/weight_run.h"
#include "workers/fit/fit.h"
#include "workers/levels/affine.h"
#include "workers/linalg/blas.h"
#include "workers/linalg/cholesky.h"
#include "workers/linalg/convert.h"
#include "workers/measure/error_accumulator.h"
#include "workers/methods/gptq.h"
#include "workers/methods/rtn.h"
#include "workers/pack/layout.h"
#include "workers/pool/pool.h"
#include "workers/solve/rtn.h"

namespace quantd {
namespace {

constexpr int64_t kSize = 4096;
constexpr int64_t kBytes = kSize * kSize * 4;

const std::vector<float>& Weight() {
  static const std::vector<float> w = [] {
    // One heavy-tailed block, repeated with other signs and sizes: drawing 16 M numbers takes
    // longer than everything that is measured here.
    const std::vector<float> block = reference::HeavyTailedWeight(64, kSize, 1);
    std::vector<float> all(kSize * kSize);
    for (int64_t i = 0; i < kSize * kSize; ++i) {
      all[i] = block[(i * 7) % static_cast<int64_t>(block.size())] * (i % 5 == 0 ? -1.1f : 0.9f);
    }
    return all;
  }();
  return w;
}

const Layout& CompressedTensors() { return **FindLayout("compressed-tensors"); }

std::vector<PackedTensor> Packed(const Spec& spec) {
  return *AllocatePacked(CompressedTensors(), spec, kSize, kSize);
}

void Memcpy(benchmark::State& state) {
  Buffer out = *Buffer::Allocate(kBytes);
  for (auto _ : state) {
    std::memcpy(out.data(), Weight().data(), kBytes);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}
BENCHMARK(Memcpy)->Unit(benchmark::kMillisecond);

// Fit + round + pack, row stripes over `threads`.
void RtnPack(benchmark::State& state) {
  Pool pool({.threads = static_cast<int>(state.range(0)), .events = nullptr});
  const Spec spec = RtnMethod().Defaults();
  std::vector<PackedTensor> out = Packed(spec);
  const int64_t rows = RtnMethod().StripeRows(kSize, kSize, false);
  const float* w = Weight().data();
  for (auto _ : state) {
    pool.ParallelFor(kSize / rows, [&](int64_t s) {
      thread_local Coded coded;
      coded.Reshape(spec, s * rows, rows, kSize);
      FitRows(spec, w + s * rows * kSize, &coded);
      RoundRows(w + s * rows * kSize, &coded);
      CompressedTensors().PackRows(coded, spec, kSize, absl::MakeSpan(out));
    });
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}
BENCHMARK(RtnPack)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

// Unpack + decode + error sums: what "measured on the packed bytes" costs.
void UnpackMeasure(benchmark::State& state) {
  Pool pool({.threads = static_cast<int>(state.range(0)), .events = nullptr});
  const Spec spec = RtnMethod().Defaults();
  std::vector<PackedTensor> packed = Packed(spec);
  CompressedTensors().PackShared(spec, kSize, kSize, {}, absl::MakeSpan(packed));
  const int64_t rows = RtnMethod().StripeRows(kSize, kSize, false);
  const float* w = Weight().data();
  Coded all;
  all.Reshape(spec, 0, kSize, kSize);
  FitRows(spec, w, &all);
  RoundRows(w, &all);
  CompressedTensors().PackRows(all, spec, kSize, absl::MakeSpan(packed));
  const std::vector<PackedView> views = ViewsOf(packed);
  for (auto _ : state) {
    pool.ParallelFor(kSize / rows, [&](int64_t s) {
      thread_local Coded coded;
      thread_local std::vector<float> decoded(kSize);
      const absl::Status unpacked =
          CompressedTensors().UnpackRows(spec, kSize, kSize, views, s * rows, rows, &coded);
      if (!unpacked.ok()) std::abort();
      ErrorAccumulator sums;
      for (int64_t r = 0; r < rows; ++r) {
        DequantizeRow(coded, r, decoded.data());
        sums.AddCodedRow(coded, r, w + (s * rows + r) * kSize, decoded.data());
      }
      benchmark::DoNotOptimize(sums);
    });
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}
BENCHMARK(UnpackMeasure)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

void RtnShrinkSearch(benchmark::State& state) {
  Spec spec = RtnMethod().Defaults();
  spec.fit.kind = FitKind::kShrinkSearch;
  const int64_t rows = 32;
  Coded coded;
  coded.Reshape(spec, 0, rows, kSize);
  for (auto _ : state) FitRows(spec, Weight().data(), &coded);
  state.SetBytesProcessed(state.iterations() * rows * kSize * 4);
}
BENCHMARK(RtnShrinkSearch)->Unit(benchmark::kMillisecond);

void Sgemm(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  Pool pool({.threads = threads, .events = nullptr});
  std::vector<float> c(kSize * kSize);
  const float* a = Weight().data();
  const int64_t rows = kSize / threads;
  for (auto _ : state) {
    pool.ParallelFor(threads, [&](int64_t t) {
      Gemm(false, false, rows, kSize, kSize, 1.0f, a + t * rows * kSize, kSize, a, kSize, 0.0f,
           c.data() + t * rows * kSize, kSize);
    });
  }
  state.counters["flops"] = benchmark::Counter(2.0 * kSize * kSize * kSize,
                                               benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(Sgemm)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

// H of AR(1) inputs with a few loud channels, in closed form.
Buffer HessianSquare() {
  Buffer square = *Buffer::Allocate(kBytes);
  float* h = square.As<float>().data();
  std::vector<float> decay(kSize), loud(kSize);
  for (int64_t i = 0; i < kSize; ++i) {
    decay[i] = i == 0 ? 1.0f : decay[i - 1] * 0.9f;
    loud[i] = i % 97 == 0 ? 10.0f : 1.0f;
  }
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = 0; j < kSize; ++j) {
      h[i * kSize + j] = loud[i] * loud[j] * decay[std::abs(i - j)];
    }
  }
  return square;
}

struct GptqLayer {
  Pool pool{{.threads = 2, .events = nullptr}};
  CancelToken cancel;
  Hessian hessian =
      *Hessian::Create(HessianSquare(), kSize, Hessian::Given::kUpper, "h", pool, cancel);
  Spec spec = GptqMethod().Defaults();
};

void GptqFactor(benchmark::State& state) {
  GptqLayer layer;
  for (auto _ : state) {
    auto solver = GptqMethod().Prepare(layer.spec, &layer.hessian, layer.pool, layer.cancel);
    if (!solver.ok()) state.SkipWithError("no factor");
  }
}
BENCHMARK(GptqFactor)->Unit(benchmark::kMillisecond)->UseRealTime();

// Factor + fit + sweep + pack of a 4096 x 4096 layer from a given H, two threads.
void GptqFactorSweepPack(benchmark::State& state) {
  GptqLayer layer;
  std::vector<PackedTensor> out = Packed(layer.spec);
  const int64_t rows = GptqMethod().StripeRows(kSize, kSize, true);
  WeightView view{DType::kF32, reinterpret_cast<const std::byte*>(Weight().data()), kSize, kSize};
  for (auto _ : state) {
    auto solver = GptqMethod().Prepare(layer.spec, &layer.hessian, layer.pool, layer.cancel);
    const WeightFit fit = *WeightFit::Create(layer.spec, view, rows, layer.pool, layer.cancel);
    layer.pool.ParallelFor(kSize / rows, [&](int64_t s) {
      thread_local Coded coded;
      thread_local SolveScratch scratch;
      coded.Reshape(layer.spec, s * rows, rows, kSize);
      (*solver)->SolveRows(fit, Weight().data() + s * rows * kSize, &coded, &scratch, layer.cancel);
      CompressedTensors().PackRows(coded, layer.spec, kSize, absl::MakeSpan(out));
    });
  }
}
BENCHMARK(GptqFactorSweepPack)->Unit(benchmark::kMillisecond)->UseRealTime();

// The same through the engine's own loop, with everything that is reported: the difference to the
// above is what the measures cost (output error of W, of the result and of the RTN baseline).
void GptqWithMeasures(benchmark::State& state) {
  GptqLayer layer;
  WeightJob job;
  job.name = "bench";
  job.view = {DType::kF32, reinterpret_cast<const std::byte*>(Weight().data()), kSize, kSize};
  job.spec = &layer.spec;
  job.method = &GptqMethod();
  job.layout = &CompressedTensors();
  job.with_hessian = true;
  double error = 0;
  for (auto _ : state) {
    auto solver = GptqMethod().Prepare(layer.spec, &layer.hessian, layer.pool, layer.cancel);
    job.solver = solver->get();
    const auto result = RunWeight(job, layer.pool, layer.cancel, [](int64_t) {});
    error = *result->report.error.output_relative_error;
  }
  state.counters["output_relative_error"] = error;
}
BENCHMARK(GptqWithMeasures)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  if (const absl::Status s = quantd::InitBlas(); !s.ok()) {
    std::fprintf(stderr, "%s\n", std::string(s.message()).c_str());
    return 1;
  }
  benchmark::AddCustomContext("blas", quantd::BlasDescription());
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
