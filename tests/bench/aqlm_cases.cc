// Runs additive codes and what they are compared with on the layers of tests/reference/aqlm_case.h,
// through the engine, and prints what is left on the stored bytes.
//
// usage: aqlm_cases [--quick]
//
// One line a run: CASE METHOD ERROR WEIGHT_ERROR BITS BOUND SECONDS. ERROR is that of outputs, with
// H = I that of weights; BOUND is what no code of so many bits can go below; METHOD is
// METHOD[,KEY=VALUE...] or "paper" for the paper's own loop. --quick: layers of a quarter of the
// weights.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/bench/layer_job.h"
#include "tests/reference/aqlm_case.h"
#include "tests/reference/aqlm_reference.h"
#include "workers/pool/pool.h"

namespace quantd {
namespace {

using reference::AqlmCase;

const std::vector<std::string>& CorrelatedMethods() {
  static const std::vector<std::string> methods = {
      "rtn,bits=2,symmetry=asymmetric",
      "rtn,bits=3,symmetry=asymmetric",
      "rtn,bits=4,symmetry=asymmetric",
      "gptq,bits=2,symmetry=asymmetric,order=natural,timing=dynamic",
      "gptq,bits=3,symmetry=asymmetric,order=natural,timing=dynamic",
      "gptq,bits=4,symmetry=asymmetric,order=natural,timing=dynamic",
      "gptq,bits=2,symmetry=asymmetric,order=natural",
      "gptq,bits=2,symmetry=asymmetric",
      "paper",
      "aqlm,scheme=2x8,refine-rounds=0",
      "aqlm,scheme=2x8,refine-rounds=0,beam=8",
      "aqlm,scheme=2x8",
      "aqlm,scheme=2x8,beam=4",
      "aqlm,scheme=2x8,beam=8",
      "aqlm,scheme=2x8,update=adam,update-steps=100",
      "aqlm,scheme=1x8g4",
      "aqlm,scheme=3x8",
      "aqlm,scheme=3x8,refine-rounds=0",
      "aqlm,scheme=4x8",
      "aqlm,scheme=4x8,refine-rounds=0",
  };
  return methods;
}

const std::vector<std::string>& IndependentMethods() {
  static const std::vector<std::string> methods = {
      "aqlm,scheme=1x8g4,rounds=0", "aqlm,scheme=2x8,rounds=0", "aqlm,scheme=1x8,rounds=0",
      "aqlm,scheme=3x8,rounds=0",   "aqlm,scheme=2x8",
  };
  return methods;
}

void Print(const std::string& name, const std::string& method, const AqlmCase& layer, double error,
           double weight_error, double bits, double seconds) {
  std::printf("%s %s %.6g %.6g %.4f %.6g %.2f\n", name.c_str(), method.c_str(), error, weight_error,
              bits, RateDistortionBound(layer, bits), seconds);
  std::fflush(stdout);
}

void RunPaper(const std::string& name, const AqlmCase& layer) {
  const reference::PaperSettings settings;
  const auto start = std::chrono::steady_clock::now();
  const reference::PaperResult result =
      PaperAqlm(layer, settings, reference::RandomSeeds(settings.seed));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  Print(name, "paper", layer, result.error, WeightError(layer, result.decoded),
        AllInBits(layer, settings.codebooks, settings.codebook_bits, settings.in_group),
        took.count());
}

// The number of runs that failed.
int RunCase(const std::string& name, const AqlmCase& layer,
            const std::vector<std::string>& methods) {
  Pool pool({.threads = AvailableThreads(), .events = nullptr});
  const std::vector<float> h(layer.h.begin(), layer.h.end());
  int failed = 0;
  for (const std::string& method : methods) {
    if (method == "paper") {
      RunPaper(name, layer);
      continue;
    }
    const absl::StatusOr<LayerRun> run =
        RunLayer(method, layer.m, layer.n, layer.w.data(), h.empty() ? nullptr : h.data(), pool);
    if (!run.ok()) {
      std::fprintf(stderr, "%s: %s\n", method.c_str(), run.status().ToString().c_str());
      ++failed;
      continue;
    }
    const ErrorMeasures& error = run->report.error;
    Print(name, method, layer, error.relative_error(), error.weight_relative_error,
          run->report.all_in_bits_per_weight, run->seconds);
  }
  return failed;
}

int Main(int argc, char** argv) {
  const bool quick = argc == 2 && std::strcmp(argv[1], "--quick") == 0;
  if (argc > 1 && !quick) {
    std::fprintf(stderr, "usage: aqlm_cases [--quick]\n");
    return 2;
  }
  const int64_t correlated = quick ? 256 : 512, independent = quick ? 512 : 1024;
  const int failed = RunCase("correlated", reference::CorrelatedCase(correlated, correlated, 1),
                             CorrelatedMethods()) +
                     RunCase("independent", reference::IndependentCase(independent, independent, 1),
                             IndependentMethods());
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) { return quantd::Main(argc, argv); }
