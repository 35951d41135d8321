// How fast additive codes are made, against SGEMM in the same run, and what the cost model says.
//
// usage: aqlm_bench speed [--quick]      layers of 4096 (--quick: 1024) columns, two threads
//        aqlm_bench costs THREADS        predicted costs of the layers of known models
//
// speed prints one figure a line:
//   sgemm N SECONDS                                     N^3, several times during the run
//   pass NAME M N FLOPS SECONDS                         one beam pass, FLOPS = 2 k M m n (n + 2^B)
//   layer METHOD M N SECONDS PREDICTED PEAK PREDICTED_PEAK ALLOWED ROUNDS ERROR    a whole job
// costs prints:
//   cost MODEL LAYER COUNT METHOD M N SECONDS BYTES
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/layer_job.h"
#include "tests/reference/aqlm_case.h"
#include "workers/core/buffer.h"
#include "workers/core/shape.h"
#include "workers/linalg/blas.h"
#include "workers/methods/aqlm.h"
#include "workers/pool/pool.h"
#include "workers/solve/beam_scratch.h"
#include "workers/solve/beam_search.h"

namespace quantd {
namespace {

constexpr int kThreads = 2;

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void PrintSgemm(int64_t n, Executor& executor) {
  const std::vector<float> a(n * n, 0.5f);
  std::vector<float> c(n * n);
  const int64_t stripe = CeilDiv(n, executor.width());
  const auto product = [&] {
    executor.ParallelFor(executor.width(), [&](int64_t t) {
      const int64_t begin = t * stripe, rows = std::min(stripe, n - begin);
      Gemm(false, false, rows, n, n, 1.0f, a.data() + begin * n, n, a.data(), n, 0.0f,
           c.data() + begin * n, n);
    });
  };
  product();
  for (int i = 0; i < 2; ++i) {
    std::printf("sgemm %lld %.5f\n", static_cast<long long>(n), SecondsOf(product));
  }
}

// A Gaussian weight with correlated inputs.
struct Layer {
  int64_t m, n;
  std::vector<float> w, h;

  Layer(int64_t rows, int64_t columns) : m(rows), n(columns) {
    reference::AqlmCase made = reference::CorrelatedCase(rows, columns, 1);
    w = std::move(made.w);
    h.assign(made.h.begin(), made.h.end());
  }
};

// A code as the k-means would start with: entries are patches, smaller from book to book.
AdditiveCode SomeCode(const Layer& layer, const AdditiveShape& shape) {
  reference::CaseRandom random(7);
  AdditiveCode code;
  const int64_t patch = shape.patch();
  const auto norm = static_cast<float>(std::sqrt(static_cast<double>(shape.n)));
  code.books.resize(shape.book_numbers());
  for (int64_t e = 0; e < shape.codebooks * shape.entries; ++e) {
    const float size = std::exp2(-2.0f * static_cast<float>(e / shape.entries)) / norm;
    const int64_t from = random.Below(layer.m * layer.n - patch);
    for (int64_t a = 0; a < patch; ++a) code.books[e * patch + a] = size * layer.w[from + a];
  }
  code.codes.resize(shape.codes());
  for (uint16_t& c : code.codes) c = static_cast<uint16_t>(random.Below(shape.entries));
  code.scales.assign(shape.out_groups() * shape.scale_columns, norm);
  return code;
}

void PrintPass(const char* name, const Layer& layer, int64_t m, const Metric& metric, Spec spec,
               Executor& executor) {
  const AdditiveShape shape = AdditiveShape::Of(spec, m, layer.n);
  AdditiveCode code = SomeCode(layer, shape);
  const CancelToken cancel;
  std::vector<BeamScratch> scratch(executor.width());
  const auto pass = [&](uint64_t seed) {
    const BeamPass search(shape, metric, code.books.data(), spec.solve.beam, seed);
    const int64_t tile = search.OutGroupsAtOnce(), tiles = CeilDiv(shape.out_groups(), tile);
    const int64_t share = CeilDiv(tiles, executor.width());
    executor.ParallelFor(executor.width(), [&](int64_t t) {
      std::vector<float> error(tile * layer.n);
      std::vector<double> change(tile);
      for (int64_t i = t * share; i < std::min(tiles, (t + 1) * share); ++i) {
        const int64_t begin = i * tile;
        search.Run(layer.w.data() + begin * layer.n, code.scales.data() + begin, nullptr,
                   std::min(tile, shape.out_groups() - begin),
                   code.codes.data() + begin * shape.in_groups() * shape.codebooks, error.data(),
                   nullptr, change.data(), &scratch[t], cancel);
      }
    });
  };
  pass(1);  // from there on few codes change, as in most passes of a solve
  const double seconds = SecondsOf([&] { pass(2); });
  const double flops = 2.0 * spec.solve.beam * static_cast<double>(shape.codebooks) *
                       static_cast<double>(m) * static_cast<double>(layer.n) *
                       static_cast<double>(layer.n + shape.entries);
  std::printf("pass %s %lld %lld %.6g %.4f\n", name, static_cast<long long>(m),
              static_cast<long long>(layer.n), flops, seconds);
  std::fflush(stdout);
}

Spec Scheme(int codebooks, int bits, int in_group, int beam) {
  Spec spec = Aqlm().defaults();
  spec.levels.codebooks = codebooks;
  spec.levels.codebook_bits = bits;
  spec.levels.in_group = in_group;
  spec.solve.beam = beam;
  return spec;
}

absl::Status Passes(int64_t n) {
  const absl::Status blas = InitBlas();
  if (!blas.ok()) return blas;
  Pool pool({.threads = kThreads, .events = nullptr});
  PrintSgemm(n, pool);
  const Layer layer(n, n);
  absl::StatusOr<Buffer> square = Buffer::Allocate(layer.h.size() * sizeof(float));
  if (!square.ok()) return square.status();
  std::memcpy(square->data(), layer.h.data(), layer.h.size() * sizeof(float));
  const CancelToken cancel;
  absl::StatusOr<Hessian> hessian =
      Hessian::Create(*std::move(square), n, Hessian::Given::kFull, "h", pool, cancel);
  if (!hessian.ok()) return hessian.status();
  const Metric metric = Metric::Of(&*hessian, pool);
  PrintPass("2x8", layer, n, metric, Scheme(2, 8, 8, 1), pool);
  PrintPass("2x8,beam=8", layer, n, metric, Scheme(2, 8, 8, 8), pool);
  PrintPass("1x8g4", layer, n, metric, Scheme(1, 8, 4, 1), pool);
  PrintPass("1x16", layer, n / 16, metric, Scheme(1, 16, 8, 1), pool);
  PrintSgemm(n, pool);
  return absl::OkStatus();
}

// H + 4 W + what the threads of a search hold.
double Allowed(int64_t m, int64_t n) {
  const Spec spec = Scheme(2, 8, 8, 1);
  const auto area = static_cast<double>(m) * static_cast<double>(n);
  const AdditiveShape shape = AdditiveShape::Of(spec, m, n);
  return 4.0 * static_cast<double>(n) * static_cast<double>(n) + 4 * 4 * area +
         kThreads * static_cast<double>(BeamBytes(shape, spec.solve.beam));
}

absl::Status WholeJob(const char* method, int64_t m, int64_t n, int64_t sgemm) {
  const absl::Status blas = InitBlas();
  if (!blas.ok()) return blas;
  Pool pool({.threads = kThreads, .events = nullptr});
  PrintSgemm(sgemm, pool);
  const Layer layer(m, n);
  const absl::StatusOr<LayerRun> run = RunLayer(method, m, n, layer.w.data(), layer.h.data(), pool);
  if (!run.ok()) return run.status();
  std::printf("layer %s %lld %lld %.3f %.3f %.0f %.0f %.0f %d %.5g\n", method,
              static_cast<long long>(m), static_cast<long long>(n), run->seconds, run->cost.seconds,
              run->peak_bytes, static_cast<double>(run->cost.peak_bytes), Allowed(m, n),
              run->rounds, run->report.error.output_relative_error.value_or(-1));
  PrintSgemm(sgemm, pool);
  return absl::OkStatus();
}

// Each part in a child of its own: what one leaves behind is not the next one's. True if it worked.
bool InChild(const std::function<absl::Status()>& part) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const absl::Status status = part();
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::fflush(stdout);
    _exit(status.ok() ? 0 : 1);
  }
  int code = 0;
  waitpid(child, &code, 0);
  return code == 0;
}

int Speed(bool quick) {
  const int64_t n = quick ? 1024 : 4096;
  bool ok = InChild([&] { return Passes(n); });
  // Three sizes for the cost model; the last is the one that has a goal.
  const int64_t shapes[][2] = {{n / 4, n / 4}, {n / 2, n / 4}, {n / 4, n}, {n, n}};
  for (const auto& shape : shapes) {
    ok &= InChild([&] { return WholeJob("aqlm,scheme=2x8", shape[0], shape[1], n); });
  }
  ok &= InChild([&] { return WholeJob("aqlm,scheme=1x8g4", n / 2, n / 2, n); });
  return ok ? 0 : 1;
}

struct ModelLayer {
  const char* model;
  const char* layer;
  int count;  // in the whole model
  int64_t m, n;
};

// Llama 2 7B and 70B, Llama 3.1 405B: linear layers of all blocks.
constexpr ModelLayer kModelLayers[] = {
    {"7B", "q,k,v,o", 4 * 32, 4096, 4096}, {"7B", "gate,up", 2 * 32, 11008, 4096},
    {"7B", "down", 32, 4096, 11008},       {"70B", "q,o", 2 * 80, 8192, 8192},
    {"70B", "k,v", 2 * 80, 1024, 8192},    {"70B", "gate,up", 2 * 80, 28672, 8192},
    {"70B", "down", 80, 8192, 28672},      {"405B", "q,o", 2 * 126, 16384, 16384},
    {"405B", "k,v", 2 * 126, 1024, 16384}, {"405B", "gate,up", 2 * 126, 53248, 16384},
    {"405B", "down", 126, 16384, 53248},
};

int Costs(int threads) {
  for (const char* method : {"aqlm,scheme=2x8", "aqlm,scheme=1x8g4", "aqlm,scheme=1x16"}) {
    for (const ModelLayer& l : kModelLayers) {
      const absl::StatusOr<Cost> cost = LayerCost(method, l.m, l.n, true, threads);
      if (!cost.ok()) {
        std::fprintf(stderr, "%s %s: %s\n", l.model, method, cost.status().ToString().c_str());
        return 1;
      }
      std::printf("cost %s %s %d %s %lld %lld %.4g %llu\n", l.model, l.layer, l.count, method,
                  static_cast<long long>(l.m), static_cast<long long>(l.n), cost->seconds,
                  static_cast<unsigned long long>(cost->peak_bytes));
    }
  }
  return 0;
}

int Main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "speed" && argc == 2) return Speed(false);
  if (mode == "speed" && argc == 3 && std::strcmp(argv[2], "--quick") == 0) return Speed(true);
  if (mode == "costs" && argc == 3 && std::atoi(argv[2]) > 0) return Costs(std::atoi(argv[2]));
  std::fprintf(stderr, "usage: aqlm_bench speed [--quick] | costs THREADS\n");
  return 2;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) { return quantd::Main(argc, argv); }
