// The three kinds of work a server does, as plain structs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "workers/core/spec.h"
#include "workers/core/tensor.h"

namespace quantd {

// One layer group: weights that share one set of statistics (q/k/v), quantized under one spec.
struct QuantizeJob {
  std::string id;  // chosen by the client; 1..128 printable ASCII characters
  std::vector<TensorDecl> tensors;
  Spec spec;
  Policy policy;
  std::string layout;              // "compressed-tensors", "gptq", "gptq-v2", "plain"
  int priority = 0;                // -10..10, higher first
  int64_t calibration_tokens = 0;  // tokens behind a given H; 0 = unknown. Echoed in the report
  // The least time between two states of the job that the caller wants to be sent; 0 = none. Only
  // specs that solve for long have any (Solver::kBeam).
  int checkpoint_seconds = 0;
};

// Many specs tried on the weights of one layer group: reports, and no bytes. Each candidate is
// solved, packed and measured as Quantize would, so its figures are those of a later job.
struct MeasureJob {
  std::string id;
  std::vector<TensorDecl> tensors;  // as for Quantize, without CHECKPOINT and given codes
  std::vector<Spec> candidates;     // at least one
  std::string layout;
  int priority = 0;
  int64_t calibration_tokens = 0;
};

// A weight as it lies in a packed layout: what Dequantize needs beside the bytes.
struct PackedWeight {
  std::string name;  // of the dense weight; its packed tensors are ModuleName(name) + suffix
  int64_t rows = 0;
  int64_t cols = 0;
  Spec spec;
};

struct DequantizeJob {
  std::string id;
  std::string layout;
  std::vector<PackedWeight> weights;
  std::vector<TensorDecl> tensors;   // role kPacked
  DType output_dtype = DType::kF32;  // F32, F16 or BF16
  int priority = 0;
};

// "model.layers.0.q_proj" for "model.layers.0.q_proj.weight"; other names unchanged.
std::string ModuleName(const std::string& weight_name);

}  // namespace quantd
