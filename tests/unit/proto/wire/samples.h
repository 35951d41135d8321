// Structs with every field away from its default, so that a field the codec forgets is seen.
#pragma once

#include <string>

#include "proto/wire/frames.h"

namespace quantd::wire {

inline Digest SampleDigest(uint8_t first) {
  Digest digest;
  for (size_t i = 0; i < digest.bytes.size(); ++i)
    digest.bytes[i] = static_cast<uint8_t>(first + i);
  return digest;
}

inline TensorDecl SampleDecl(const std::string& name, Role role) {
  return {name, role, DType::kBF16, {3, 5, 7}, SampleDigest(9), "layers.0.q_proj.weight"};
}

// Every field differs from a default Spec's and from the presets of the methods.
inline Spec SampleGptqSpec() {
  Spec spec;
  spec.method = "gptq";
  spec.levels = {LevelKind::kFixedTable,
                 3,
                 Symmetry::kSymmetricFullRange,
                 ZeroPoint::kReal,
                 NumberFormat::kE3M2,
                 FixedTable::kFp4,
                 3,
                 7,
                 5,
                 16};
  spec.partition = {Granularity::kRow, 96, GroupAxis::kIn, true, TailPolicy::kShortLastGroup};
  spec.fit = {
      FitKind::kShrinkSearch, 33,          0.45, 3.25,   21, 11.5, 1.125, Importance::kFisher, 6,
      Seeding::kFarthest,     4294967294u, 13,   1 << 29};
  spec.storage = {StorageKind::kNested, ScaleRounding::kEven, 5, 33};
  spec.transform = {ScalingKind::kSmooth, 19,    0.625, RotationKind::kInput, 64, 4294967295u,
                    CorrectionKind::kQep, 0.375, 2.5};
  spec.exceptions = {OutlierKind::kColumnShare, 0.03, 0.02, 0.4, 7.5, 0.11, 0.013, 5, 9, 12};
  spec.allocation = {AllocationKind::kRoundOff, 7, 0.17, 333.25};
  spec.solve = {Solver::kGptq,
                Order::kGroupAware,
                GroupTiming::kDynamic,
                Factorization::kCholesky,
                77,
                {0.0625, 3.5, 0.75},
                0.5,
                6,
                9,
                17,
                1234,
                0.125,
                CodebookRule::kAdam,
                55,
                0.0009765625,
                AdamRule::kCode,
                0.625};
  return spec;
}

inline Spec SampleRtnSpec() {
  Spec spec = SampleGptqSpec();
  spec.method = "rtn";
  spec.levels.bits = 7;
  spec.levels.symmetry = Symmetry::kAsymmetric;
  spec.storage.kind = StorageKind::kF32;
  spec.solve = Solve();
  return spec;
}

inline QuantizeJob SampleQuantizeJob() {
  QuantizeJob job;
  job.id = "run-7/layer 12";
  job.tensors = {SampleDecl("layers.0.q_proj.weight", Role::kWeight),
                 SampleDecl("H", Role::kHessian)};
  job.tensors[1].digest.reset();
  job.spec = SampleGptqSpec();
  job.policy.on_degraded = OnDegraded::kReject;
  job.layout = "gptq-v2";
  job.priority = -7;
  job.calibration_tokens = int64_t{1} << 40;
  job.checkpoint_seconds = 0x7FFFFFFF;
  return job;
}

inline MeasureJob SampleMeasureJob() {
  MeasureJob job;
  job.id = "frontier/layer 12";
  job.tensors = {SampleDecl("layers.0.q_proj.weight", Role::kWeight),
                 SampleDecl("x", Role::kActivations)};
  job.tensors[1].digest.reset();
  job.candidates = {SampleGptqSpec(), SampleRtnSpec(), SampleGptqSpec()};
  job.candidates[2].levels.bits = 6;
  job.layout = "plain";
  job.priority = -10;
  job.calibration_tokens = int64_t{1} << 41;
  return job;
}

inline DequantizeJob SampleDequantizeJob() {
  DequantizeJob job;
  job.id = "d";
  job.layout = "compressed-tensors";
  job.weights = {{"a.weight", 11, 13, SampleRtnSpec()}, {"b.weight", 17, 19, SampleGptqSpec()}};
  job.tensors = {SampleDecl("a.weight_packed", Role::kPacked),
                 SampleDecl("b.weight_packed", Role::kPacked)};
  job.output_dtype = DType::kF16;
  job.priority = 10;
  return job;
}

inline ErrorMeasures SampleMeasures(double base) {
  return {base, base + 1, base + 2, base + 3, base + 4, base + 5, base + 6};
}

inline TensorReport SampleReport(const std::string& name) {
  TensorReport report;
  report.name = name;
  report.outcome = Outcome::kDegraded;
  report.reason = "no rung factored";
  report.rows = 21;
  report.cols = 22;
  report.code_bits_per_weight = 4.5;
  report.all_in_bits_per_weight = 4.75;
  report.spec = SampleGptqSpec();
  report.error = SampleMeasures(0.125);
  report.candidates = {{"out", SampleMeasures(20.125), 4.25, false},
                       {"in", SampleMeasures(30.125), 4.5, true}};
  report.outlier_share = 0.015625;
  report.drift_error = -0.375;
  report.notes = {"2 of 384 columns kept F16", "alpha 0.4"};
  report.rtn_baseline = SampleMeasures(10.125);
  report.solver = SolverFacts{0.1, 2, true, 23, 1.5};
  report.seconds = 2.25;
  report.source_digest = SampleDigest(1);
  report.packed_digests = {{"a.qweight", SampleDigest(2)}, {"a.scales", SampleDigest(3)}};
  return report;
}

inline FinalFrame SampleFinal() {
  FinalFrame frame;
  frame.outcome = Outcome::kRejected;
  frame.report.tensors = {SampleReport("a.weight"), SampleReport("b.weight")};
  frame.report.tensors[1].rtn_baseline.reset();
  frame.report.tensors[1].solver.reset();
  frame.report.tensors[1].drift_error.reset();
  frame.report.tensors[1].candidates.clear();
  frame.report.tensors[1].notes.clear();
  frame.report.tensors[1].spec = SampleRtnSpec();
  frame.report.tensors[1].error.output_relative_error.reset();
  frame.report.seconds = {1, 2, 3, 4, 5, 6};
  frame.report.calibration_tokens = 99;
  frame.report.predicted_peak_bytes = 0xFFFFFFFFFFFFFFFFu;
  frame.build_id = "0.1.0-abc";
  return frame;
}

}  // namespace quantd::wire
