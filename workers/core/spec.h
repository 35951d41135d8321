// A quantization spec: a method names a preset, the preset fills the axes, the caller may override.
//
// W is m x n (m outputs, n inputs, row-major, y = W x). A group is a set of weights that share a
// scale; "per-OC" groups run along a row.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "workers/core/dtype.h"

namespace quantd {

// Which scale and zero code belong to a range. Three conventions of "symmetric" are in use; each is
// named, because a reader of the wrong one is off by up to half a step. b = bits, u = stored code.
enum class Symmetry : uint8_t {
  kUnspecified = 0,
  // lo = min(w, 0), hi = max(w, 0), s = (hi - lo) / (2^b - 1), z = round(-lo / s).
  kAsymmetric = 1,
  // s = 2 max|w| / (2^b - 1), z = 2^(b-1): GPTQ's and compressed-tensors' own; +max clips by half a
  // step.
  kSymmetricMinMax = 2,
  // s = max|w| / (2^(b-1) - 1), z = 2^(b-1): AWQ and Hugging Face; nothing clips, code 0 stays
  // unused.
  kSymmetricAbsMax = 3,
  // s = (the extreme with its sign) / -2^(b-1), z = 2^(b-1): llama.cpp; the extreme is exact, s may
  // be negative.
  kSymmetricFullRange = 4,
};

// Levels axis: w = s * (u - z) with u in [0, 2^bits - 1].
struct AffineInt {
  int bits = 4;  // 2..8
  Symmetry symmetry = Symmetry::kSymmetricMinMax;

  bool symmetric() const { return symmetry != Symmetry::kAsymmetric; }
  int max_code() const { return (1 << bits) - 1; }
  int middle_code() const { return 1 << (bits - 1); }  // z of the symmetric kinds
};

enum class Granularity : uint8_t {
  kUnspecified = 0,
  kTensor = 1,  // one scale for the whole weight
  kRow = 2,     // one per output row
  kGroup = 3,   // one per `group_size` consecutive columns of a row (per-OC)
};

// What happens when group_size does not divide n. Nothing changes silently.
enum class TailPolicy : uint8_t {
  kUnspecified = 0,
  kReject = 1,
  kShortLastGroup = 2,
};

// Partition axis.
struct Partition {
  Granularity granularity = Granularity::kGroup;
  int64_t group_size = 128;  // columns; only for kGroup
  TailPolicy tail = TailPolicy::kReject;

  // Columns of one group / groups of one row, for a weight of n columns (n > 0).
  int64_t GroupColumns(int64_t n) const {
    return granularity == Granularity::kGroup && group_size < n ? group_size : n;
  }
  int64_t GroupsPerRow(int64_t n) const { return (n + GroupColumns(n) - 1) / GroupColumns(n); }
};

enum class FitKind : uint8_t {
  kUnspecified = 0,
  kMinMax = 1,        // the range of the group
  kShrinkSearch = 2,  // the range times the factor with the least sum |w - w'|^norm
};

// Fit axis: how scales are found.
struct Fit {
  FitKind kind = FitKind::kMinMax;
  // Shrink search only: candidate factors are 1 - i * (1 - shrink_to) / steps, i = 0..steps.
  int steps = 80;          // 1..1000
  double shrink_to = 0.2;  // (0, 1]
  double norm = 2.0;       // [1, 4]; 2 is the MSE
};

enum class Order : uint8_t {
  kUnspecified = 0,
  kNatural = 1,
  kActOrder = 2,    // columns by falling diag(H), ties by index
  kGroupAware = 3,  // columns by falling diag(H) inside each group, groups by their largest entry
};

enum class GroupTiming : uint8_t {
  kUnspecified = 0,
  kStatic = 1,   // all scales are fitted on the untouched weight; groups are original columns
  kDynamic = 2,  // a group is fitted when the sweep reaches it; with act-order needs g_idx
};

enum class Factorization : uint8_t {
  kUnspecified = 0,
  kLdlq = 1,      // inversion-free, left-looking; static groups only
  kCholesky = 2,  // U = R^-1 of the flipped Cholesky factor, right-looking with lazy blocks
};

enum class Solver : uint8_t {
  kUnspecified = 0,
  kRtn = 1,
  kGptq = 2,
};

// lambda = fraction * mean(diag H). The ladder multiplies by `step` until the factorization
// succeeds or the fraction passes `limit`; each rung starts from the untouched H.
struct Damping {
  double fraction = 0.01;  // >= 0
  double step = 10.0;      // > 1
  double limit = 1.0;      // >= fraction
};

// Solver axis: how codes are chosen. The fields below `solver` matter to kGptq only.
struct Solve {
  Solver solver = Solver::kRtn;
  Order order = Order::kNatural;
  GroupTiming timing = GroupTiming::kStatic;
  Factorization factorization = Factorization::kLdlq;
  int block_columns = 128;  // lazy batch; changes speed only. 1..1024
  Damping damping;
  int descent_passes = 0;           // coordinate-descent polish after the sweep
  int fallback_descent_passes = 4;  // when no rung of the ladder factors: descent from RTN
};

struct Spec {
  std::string method;  // "rtn", "gptq"
  AffineInt levels;
  Partition partition;
  Fit fit;
  DType scale_dtype =
      DType::kF16;  // F16, BF16, F32; scales are rounded to it before codes are chosen
  Solve solve;
};

// What to do with a weight that did not go as the spec says.
enum class OnDegraded : uint8_t {
  kUnspecified = 0,
  kAccept = 1,  // outcome DEGRADED with reason and figures; bytes are delivered
  kReject = 2,  // outcome REJECTED, no bytes for that weight
};

struct Policy {
  OnDegraded on_degraded = OnDegraded::kAccept;
};

// Names as users and JSON see them: "symmetric-minmax", "group", "shrink-search", "act-order", ...
absl::string_view SymmetryName(Symmetry v);
absl::string_view GranularityName(Granularity v);
absl::string_view TailPolicyName(TailPolicy v);
absl::string_view FitKindName(FitKind v);
absl::string_view OrderName(Order v);
absl::string_view GroupTimingName(GroupTiming v);
absl::string_view FactorizationName(Factorization v);
absl::string_view SolverName(Solver v);

}  // namespace quantd
