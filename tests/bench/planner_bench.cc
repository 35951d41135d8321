// Plans the precision of made-up models and prints what each plan took.
//
// usage: planner_bench [LAYERS [CANDIDATES]]     10,000 layers of 16 candidates each by default
//
// One line a kind of model and goal: NAME SECONDS PEAK_BYTES GAP. The peak is the resident size of
// the process at its highest, the model included. The last lines are a model's frontier of 64
// points and 50 random draws, where nothing is left open: their gap is 0.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "workers/planner/allocation.h"
#include "workers/planner/random_search.h"

namespace quantd {
namespace {

using Random = std::mt19937_64;

// Bytes of a line of /proc/self/status.
double StatusBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(key + ":", 0) == 0) return 1024.0 * std::atof(line.c_str() + key.size() + 1);
  }
  return 0;
}

void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

double Uniform(Random* random) { return static_cast<double>((*random)() >> 11) * 0x1p-53; }

// 2 to about 8 bits with groups of 32, 64, 128 and 256 weights; the error falls by four a bit and
// is off by up to a fifth.
LayerOption OptionFor(int candidate, int candidates, uint64_t parameters, Random* random) {
  LayerOption option;
  const double bits = 2 + 6.0 * (candidate / 4) / (std::max(candidates, 8) / 4 - 1);
  option.candidate = candidate;
  option.block = 32 << candidate % 4;
  const double stored = bits + 16.0 / static_cast<double>(option.block);
  option.bytes = static_cast<uint64_t>(static_cast<double>(parameters) * stored / 8);
  option.error = std::pow(4.0, -bits) * (1 + 0.1 * (candidate % 4)) * (0.8 + 0.4 * Uniform(random));
  return option;
}

PlanLayer LayerOf(uint64_t parameters, int candidates, Random* random) {
  PlanLayer layer;
  layer.name = "layer";
  layer.parameters = parameters;
  layer.sensitivity = std::exp(2 * Uniform(random) - 1);
  for (int c = 0; c < candidates - 1; ++c) {
    layer.options.push_back(OptionFor(c, candidates, parameters, random));
  }
  layer.options.push_back({kDense, 2 * parameters, 0, 0});
  return layer;
}

AllocationProblem Empty(int candidates) {
  AllocationProblem problem;
  problem.candidates.assign(candidates - 1, "candidate");
  return problem;
}

// Blocks of q, k, v, o, gate, up and down, with q, k, v and gate, up fused.
AllocationProblem Transformer(int layers, int candidates, Random* random) {
  constexpr uint64_t kWide = 4096 * 4096, kNarrow = 4096 * 1024, kDeep = 4096 * 14336;
  constexpr uint64_t kSizes[] = {kWide, kNarrow, kNarrow, kWide, kDeep, kDeep, kDeep};
  AllocationProblem problem = Empty(candidates);
  for (int l = 0; l < layers; ++l) {
    problem.layers.push_back(LayerOf(kSizes[l % 7], candidates, random));
    if (l % 7 == 2) problem.same.push_back({l - 2, l - 1, l});
    if (l % 7 == 5) problem.same.push_back({l - 1, l});
  }
  return problem;
}

AllocationProblem RandomSizes(int layers, int candidates, Random* random) {
  AllocationProblem problem = Empty(candidates);
  for (int l = 0; l < layers; ++l) {
    const auto parameters = static_cast<uint64_t>(std::exp(11 + 6 * Uniform(random)));
    problem.layers.push_back(LayerOf(parameters, candidates, random));
  }
  return problem;
}

AllocationProblem AllEqual(int layers, int candidates, Random* random) {
  AllocationProblem problem = Empty(candidates);
  problem.layers.assign(layers, LayerOf(4097 * 4099, candidates, random));
  return problem;
}

// `work` returns the gap, or a negative number when it failed.
void Report(const std::string& name, const std::function<double()>& work) {
  ResetPeak();
  const auto start = std::chrono::steady_clock::now();
  const double gap = work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%s %.4f %.0f %.3g\n", name.c_str(), took.count(), StatusBytes("VmHWM"), gap);
}

double GapOf(const AllocationProblem& problem) {
  const absl::StatusOr<Plan> plan = Allocate(problem);
  return plan.ok() ? plan->gap : -1;
}

void Measure(const std::string& name, AllocationProblem problem) {
  double parameters = 0;
  for (const PlanLayer& layer : problem.layers) {
    parameters += static_cast<double>(layer.parameters);
  }
  for (const double bits : {2.5, 4.0, 6.0}) {
    problem.goal.kind = GoalKind::kBytes;
    problem.goal.bytes = static_cast<uint64_t>(parameters * bits / 8);
    char goal[32];
    std::snprintf(goal, sizeof(goal), "-%.1f-bits", bits);
    Report(name + goal, [&] { return GapOf(problem); });
  }
  problem.goal.kind = GoalKind::kError;
  problem.goal.error = 0.01;
  Report(name + "-error", [&] { return GapOf(problem); });
  problem.goal.kind = GoalKind::kLowShare;
  problem.goal.low_share = 0.9;
  Report(name + "-share", [&] { return GapOf(problem); });
  Report(name + "-frontier", [&] { return ModelFrontier(problem, 64).ok() ? 0.0 : -1.0; });
  Report(name + "-draws",
         [&] { return DrawTrials(problem, {.low_share = 0.9}).ok() ? 0.0 : -1.0; });
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  const int layers = argc > 1 ? std::atoi(argv[1]) : 10000;
  const int candidates = argc > 2 ? std::atoi(argv[2]) : 16;
  if (layers < 1 || candidates < 2) {
    std::fprintf(stderr, "usage: planner_bench [LAYERS [CANDIDATES]]\n");
    return 1;
  }
  quantd::Random random(1);
  quantd::Measure("transformer", quantd::Transformer(layers, candidates, &random));
  quantd::Measure("random-sizes", quantd::RandomSizes(layers, candidates, &random));
  quantd::Measure("all-equal", quantd::AllEqual(layers, candidates, &random));
  return 0;
}
