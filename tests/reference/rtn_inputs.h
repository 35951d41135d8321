// Weights that tests of rounding share: each a name and [rows, cols] values.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace quantd::reference {

struct RtnInput {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;
};

inline RtnInput Gaussian(int64_t rows, int64_t cols, float deviation, uint32_t seed) {
  RtnInput input{"gaussian", rows, cols, std::vector<float>(rows * cols)};
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  for (float& v : input.values) v = normal(rng);
  return input;
}

// Every kind of row that has once been a special case somewhere.
inline std::vector<RtnInput> RtnInputs(int64_t rows, int64_t cols) {
  const int64_t size = rows * cols;
  std::vector<RtnInput> all = {Gaussian(rows, cols, 0.02f, 1)};
  const auto add = [&](const char* name, auto value) {
    RtnInput input{name, rows, cols, std::vector<float>(size)};
    for (int64_t i = 0; i < size; ++i) input.values[i] = value(i);
    all.push_back(std::move(input));
  };
  add("zero", [](int64_t) { return 0.0f; });
  add("negative zero", [](int64_t) { return -0.0f; });
  add("ramp", [&](int64_t i) { return static_cast<float>(i % cols) - 0.37f * cols; });
  add("positive", [](int64_t i) { return 1.0f + static_cast<float>(i % 7); });
  add("negative", [](int64_t i) { return -1.0f - static_cast<float>(i % 5); });
  add("one-hot", [&](int64_t i) { return i % cols == (i / cols * 13) % cols ? -0.75f : 0.0f; });
  add("subnormal", [](int64_t i) { return static_cast<float>(i % 11 - 5) * 0x1p-149f; });
  add("below f16", [](int64_t i) { return static_cast<float>(i % 13 - 6) * 0x1p-22f; });
  add("f16 extremes", [](int64_t i) {
    return i % 3 == 0 ? 65504.0f : i % 3 == 1 ? -65504.0f : 1.0f;
  });
  add("halves", [](int64_t i) { return static_cast<float>(i % 31 - 15) * 0.5f; });
  add("huge",
      [](int64_t i) { return (i % 2 == 0 ? 3e38f : -3e38f) / static_cast<float>(1 + i % 9); });
  return all;
}

}  // namespace quantd::reference
