// Allocation problems for tests: made up, but with sizes and errors like those of layers.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "workers/planner/allocation.h"

namespace quantd {

inline int Below(int count, std::mt19937* rng) { return static_cast<int>((*rng)() % count); }
inline double Fraction(std::mt19937* rng) { return ((*rng)() >> 8) * 0x1p-24; }

// What candidate `c` makes of a layer: 2, 3, 4, ... bits, the error a quarter each time.
inline LayerOption OptionFor(int c, uint64_t parameters, std::mt19937* rng) {
  LayerOption option;
  option.candidate = c;
  if (c == kDense) {
    option.bytes = 2 * parameters;
    return option;
  }
  option.block = 16 << Below(3, rng);
  option.bytes = (parameters * (c + 2) + 7) / 8 + (parameters / option.block + 1) * 2;
  option.error = std::pow(0.25, c) * (0.05 + 0.1 * Fraction(rng));
  return option;
}

// `layers` layers with candidates 0 .. candidates - 1 and kDense each.
inline AllocationProblem FullProblem(int layers, int candidates, std::mt19937* rng) {
  AllocationProblem problem;
  for (int c = 0; c < candidates; ++c) problem.candidates.push_back(absl::StrCat("q", c + 2));
  for (int l = 0; l < layers; ++l) {
    PlanLayer layer;
    layer.name = absl::StrCat("layer", l);
    layer.parameters = 100 * (1 + Below(40, rng));
    layer.sensitivity = 0.2 + 2 * Fraction(rng);
    for (int c = kDense; c < candidates; ++c) {
      layer.options.push_back(OptionFor(c, layer.parameters, rng));
    }
    problem.layers.push_back(layer);
  }
  return problem;
}

// Layers of odd sizes that have nothing in common, and to which low precision does much the same:
// hardly a state is worse than another, so that a search takes all states that it may have.
inline AllocationProblem StubbornProblem(int layers, std::mt19937* rng) {
  AllocationProblem problem;
  problem.candidates = {"q4"};
  for (int l = 0; l < layers; ++l) {
    PlanLayer layer;
    layer.name = absl::StrCat("layer", l);
    layer.parameters = (uint64_t{(*rng)()} << 6) | 1;
    layer.options = {{0, layer.parameters / 2, 0.1 * (1 + 1e-9 * Fraction(rng)), 64},
                     {kDense, 2 * layer.parameters, 0, 0}};
    problem.layers.push_back(layer);
  }
  return problem;
}

// FullProblem with sets of layers that must agree, candidates ruled out, layers that do not matter.
inline AllocationProblem RandomProblem(int most_layers, int candidates, std::mt19937* rng) {
  AllocationProblem problem = FullProblem(1 + Below(most_layers, rng), candidates, rng);
  const int layers = static_cast<int>(problem.layers.size());
  for (PlanLayer& layer : problem.layers) {
    if (Below(8, rng) == 0) layer.sensitivity = 0;
    // Candidate 0 stays everywhere, so that any set has something in common.
    std::erase_if(layer.options, [&](const LayerOption& option) {
      return option.candidate != 0 && Below(5, rng) == 0;
    });
    std::shuffle(layer.options.begin(), layer.options.end(), *rng);
  }
  for (int s = 0; s < Below(3, rng); ++s) {
    problem.same.push_back({Below(layers, rng), Below(layers, rng)});
  }
  return problem;
}

// The plan's error, written out: the mean of the layers' errors, by parameters and sensitivity.
inline double PlainError(const AllocationProblem& problem, const std::vector<int>& choice) {
  double error = 0, weight = 0;
  for (size_t l = 0; l < choice.size(); ++l) {
    const PlanLayer& layer = problem.layers[l];
    const double of = layer.sensitivity * static_cast<double>(layer.parameters);
    error += of * layer.options[choice[l]].error;
    weight += of;
  }
  return error / weight;
}

inline uint64_t PlainBytes(const AllocationProblem& problem, const std::vector<int>& choice) {
  uint64_t bytes = 0;
  for (size_t l = 0; l < choice.size(); ++l) {
    bytes += problem.layers[l].options[choice[l]].bytes;
  }
  return bytes;
}

inline bool SetsAgree(const AllocationProblem& problem, const std::vector<int>& choice) {
  return std::all_of(problem.same.begin(), problem.same.end(), [&](const std::vector<int>& set) {
    return std::all_of(set.begin(), set.end(), [&](int l) {
      return problem.layers[l].options[choice[l]].candidate ==
             problem.layers[set[0]].options[choice[set[0]]].candidate;
    });
  });
}

inline bool AllDontMatter(const AllocationProblem& problem) {
  return std::all_of(problem.layers.begin(), problem.layers.end(),
                     [](const PlanLayer& layer) { return layer.sensitivity == 0; });
}

}  // namespace quantd
