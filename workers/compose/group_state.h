// What a prepared layer group holds. Inside workers/compose only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "workers/calib/asymmetric.h"
#include "workers/calib/factor.h"
#include "workers/compose/group_solver.h"
#include "workers/compose/solve_scratch.h"
#include "workers/solve/metric.h"
#include "workers/transform/correction.h"
#include "workers/transform/rotation.h"

namespace quantd {

struct GroupSolver::State {
  Spec spec;
  GroupInputs* inputs = nullptr;
  Hessian* hessian = nullptr;  // in the coded basis

  std::optional<Correction> correction;
  double correction_lambda = 0;     // what it added to the diagonal of H
  std::vector<float> column_scale;  // [n] or empty
  std::optional<Rotation> rotation;
  std::vector<int32_t> kept_columns;
  std::vector<float> hessian_blocks;  // clip search
  float tensor_scale = 1.0f;          // StorageKind::kE4M3, of all weights together

  std::optional<Metric> metric;  // Solver::kBeam
  std::optional<Factor> factor;
  std::optional<Asymmetric> asymmetric;
  std::string no_factor;  // why the ladder failed; descent stands in then
  std::vector<std::string> notes;

  // Rows `w` [rows, n] from the uploaded basis to that of the code, in place; an output rotation is
  // the weight's own. `scratch` serves the correction.
  void Enter(float* w, int64_t rows, std::vector<float>* scratch) const;
  // The same for rows of errors: no correction.
  void EnterError(float* w, int64_t rows) const;
  bool changes_basis() const { return !column_scale.empty() || rotation.has_value(); }
};

// The rotation of outputs that spec.transform asks for, for weights of m rows.
absl::StatusOr<std::optional<Rotation>> OutputRotation(const Spec& spec, int64_t m);

}  // namespace quantd
