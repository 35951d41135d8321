// Equality over every field of the structs that travel. The structured bindings name each field: a
// field that is added later stops the build here until a test covers it.
#pragma once

#include <tuple>

#include "proto/wire/frames.h"

namespace quantd {

inline bool operator==(const Levels& a, const Levels& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9, a10] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9, b10] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) ==
         std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9, b10);
}

inline bool operator==(const Partition& a, const Partition& b) {
  const auto& [a1, a2, a3, a4, a5] = a;
  const auto& [b1, b2, b3, b4, b5] = b;
  return std::tie(a1, a2, a3, a4, a5) == std::tie(b1, b2, b3, b4, b5);
}

inline bool operator==(const Fit& a, const Fit& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13) ==
         std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13);
}

inline bool operator==(const Storage& a, const Storage& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

inline bool operator==(const Transform& a, const Transform& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9) ==
         std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9);
}

inline bool operator==(const Exceptions& a, const Exceptions& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9, a10] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9, b10] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) ==
         std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9, b10);
}

inline bool operator==(const Allocation& a, const Allocation& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

inline bool operator==(const Damping& a, const Damping& b) {
  const auto& [a1, a2, a3] = a;
  const auto& [b1, b2, b3] = b;
  return std::tie(a1, a2, a3) == std::tie(b1, b2, b3);
}

inline bool operator==(const Solve& a, const Solve& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16, b17] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17) ==
         std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16, b17);
}

inline bool operator==(const Spec& a, const Spec& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9) ==
         std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9);
}

inline bool operator==(const Policy& a, const Policy& b) {
  const auto& [a1] = a;
  const auto& [b1] = b;
  return a1 == b1;
}

inline bool operator==(const TensorDecl& a, const TensorDecl& b) {
  const auto& [a1, a2, a3, a4, a5, a6] = a;
  const auto& [b1, b2, b3, b4, b5, b6] = b;
  return std::tie(a1, a2, a3, a4, a5, a6) == std::tie(b1, b2, b3, b4, b5, b6);
}

inline bool operator==(const QuantizeJob& a, const QuantizeJob& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8) == std::tie(b1, b2, b3, b4, b5, b6, b7, b8);
}

inline bool operator==(const MeasureJob& a, const MeasureJob& b) {
  const auto& [a1, a2, a3, a4, a5, a6] = a;
  const auto& [b1, b2, b3, b4, b5, b6] = b;
  return std::tie(a1, a2, a3, a4, a5, a6) == std::tie(b1, b2, b3, b4, b5, b6);
}

inline bool operator==(const PackedWeight& a, const PackedWeight& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

inline bool operator==(const DequantizeJob& a, const DequantizeJob& b) {
  const auto& [a1, a2, a3, a4, a5, a6] = a;
  const auto& [b1, b2, b3, b4, b5, b6] = b;
  return std::tie(a1, a2, a3, a4, a5, a6) == std::tie(b1, b2, b3, b4, b5, b6);
}

inline bool operator==(const ErrorMeasures& a, const ErrorMeasures& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7) == std::tie(b1, b2, b3, b4, b5, b6, b7);
}

inline bool operator==(const SolverFacts& a, const SolverFacts& b) {
  const auto& [a1, a2, a3, a4, a5] = a;
  const auto& [b1, b2, b3, b4, b5] = b;
  return std::tie(a1, a2, a3, a4, a5) == std::tie(b1, b2, b3, b4, b5);
}

inline bool operator==(const StageSeconds& a, const StageSeconds& b) {
  const auto& [a1, a2, a3, a4, a5, a6] = a;
  const auto& [b1, b2, b3, b4, b5, b6] = b;
  return std::tie(a1, a2, a3, a4, a5, a6) == std::tie(b1, b2, b3, b4, b5, b6);
}

inline bool operator==(const Candidate& a, const Candidate& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

inline bool operator==(const TensorReport& a, const TensorReport& b) {
  const auto& [a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18,
               a19] = a;
  const auto& [b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16, b17, b18,
               b19] = b;
  return std::tie(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18,
                  a19) == std::tie(b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15,
                                   b16, b17, b18, b19);
}

inline bool operator==(const CandidateReport& a, const CandidateReport& b) {
  const auto& [a1, a2] = a;
  const auto& [b1, b2] = b;
  return std::tie(a1, a2) == std::tie(b1, b2);
}

inline bool operator==(const JobReport& a, const JobReport& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

namespace wire {

inline bool operator==(const ChunkFrame& a, const ChunkFrame& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

inline bool operator==(const EndFrame&, const EndFrame&) { return true; }

inline bool operator==(const AcceptedFrame& a, const AcceptedFrame& b) {
  const auto& [a1, a2, a3, a4, a5] = a;
  const auto& [b1, b2, b3, b4, b5] = b;
  return std::tie(a1, a2, a3, a4, a5) == std::tie(b1, b2, b3, b4, b5);
}

inline bool operator==(const ProgressFrame::Round& a, const ProgressFrame::Round& b) {
  const auto& [a1, a2, a3] = a;
  const auto& [b1, b2, b3] = b;
  return std::tie(a1, a2, a3) == std::tie(b1, b2, b3);
}

inline bool operator==(const ProgressFrame& a, const ProgressFrame& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3) == std::tie(b1, b2, b3) && a4 == b4;
}

inline bool operator==(const JobStateFrame& a, const JobStateFrame& b) {
  const auto& [a1, a2, a3, a4] = a;
  const auto& [b1, b2, b3, b4] = b;
  return std::tie(a1, a2, a3, a4) == std::tie(b1, b2, b3, b4);
}

inline bool operator==(const ResultTensorFrame& a, const ResultTensorFrame& b) {
  const auto& [a1, a2, a3] = a;
  const auto& [b1, b2, b3] = b;
  return std::tie(a1, a2, a3) == std::tie(b1, b2, b3);
}

inline bool operator==(const TensorReportFrame& a, const TensorReportFrame& b) {
  const auto& [a1] = a;
  const auto& [b1] = b;
  return a1 == b1;
}

inline bool operator==(const CandidateReportFrame& a, const CandidateReportFrame& b) {
  const auto& [a1] = a;
  const auto& [b1] = b;
  return a1 == b1;
}

inline bool operator==(const FinalFrame& a, const FinalFrame& b) {
  const auto& [a1, a2, a3] = a;
  const auto& [b1, b2, b3] = b;
  return std::tie(a1, a2, a3) == std::tie(b1, b2, b3);
}

}  // namespace wire
}  // namespace quantd
