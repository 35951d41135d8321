// A quantization spec: a method names a preset, the preset fills the axes, the caller may override.
//
// W is m x n (m outputs, n inputs, row-major, y = W x). A group is a set of weights that share
// parameters; "per-OC" groups run along a row, "per-IC" groups down a column. spec_fields.h lists
// every field with its name, range and meaning.
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

// Levels axis: the set of values that a code can stand for.
enum class LevelKind : uint8_t {
  kUnspecified = 0,
  kAffineInt = 1,     // w = s (u - z)
  kMinifloat = 2,     // w = s v[u], v the values of `format`
  kFixedTable = 3,    // w = s v[u], v the entries of `table`
  kLearnedTable = 4,  // w = t[u], 2^bits entries t of each group's own
  kBinaryCoding = 5,  // w = c + sum over planes i of (bit i of u ? a_i : -a_i), a and c per group
  kCluster = 6,       // FineQ: three weights share 7 bits, w = s v[u]
  // AQLM: a patch of out_group x in_group weights is s * (C_1[u_1] + C_2[u_2] + ...), entries of
  // `codebooks` learned tables of 2^codebook_bits patches that the whole weight shares.
  kAdditive = 7,
};

// Affine, asymmetric: what a zero point may be.
enum class ZeroPoint : uint8_t {
  kUnspecified = 0,
  kInteger = 1,  // a code, so that the number 0 is exact
  kReal = 2,     // a real number in code space (HQQ, SpQR)
};

// OCP formats; the count of bits follows from the name.
enum class NumberFormat : uint8_t {
  kUnspecified = 0,
  kE2M1 = 1,  // max 6
  kE4M3 = 2,  // max 448; no infinities ("e4m3fn")
  kE5M2 = 3,  // max 57344
  kE3M2 = 4,  // max 28
  kE2M3 = 5,  // max 7.5
};

enum class FixedTable : uint8_t {
  kUnspecified = 0,
  kNf4 = 1,  // bitsandbytes' normal-float
  kFp4 = 2,  // bitsandbytes' own 4-bit float, not E2M1
};

struct Levels {
  LevelKind kind = LevelKind::kAffineInt;
  int bits = 4;  // of one code; 2..8. Minifloat, table and cluster fix it
  Symmetry symmetry = Symmetry::kSymmetricMinMax;  // affine only
  ZeroPoint zero = ZeroPoint::kInteger;            // asymmetric affine only
  NumberFormat format = NumberFormat::kE2M1;       // minifloat only
  FixedTable table = FixedTable::kNf4;             // fixed table only
  // Additive only.
  int codebooks = 2;      // M: codes of a patch; 1..16
  int codebook_bits = 8;  // B: bits of one code; 1..16
  int out_group = 1;      // rows of a patch; 1..64
  int in_group = 8;       // columns of a patch; 1..64

  bool affine() const { return kind == LevelKind::kAffineInt; }
  bool additive() const { return kind == LevelKind::kAdditive; }
  // Entries of one additive codebook / bits of codes that one weight costs.
  int64_t entries() const { return int64_t{1} << codebook_bits; }
  double additive_bits() const {
    return static_cast<double>(codebooks) * codebook_bits / (out_group * in_group);
  }
  // No zero point is stored.
  bool symmetric() const { return !affine() || symmetry != Symmetry::kAsymmetric; }
  bool real_zero() const { return !symmetric() && zero == ZeroPoint::kReal; }
  // A number multiplies every level of a group: all kinds but learned tables and binary coding.
  bool scaled() const {
    return kind != LevelKind::kLearnedTable && kind != LevelKind::kBinaryCoding;
  }
  int max_code() const { return (1 << bits) - 1; }
  int middle_code() const { return 1 << (bits - 1); }  // z of the symmetric kinds
  // Bits that the kind, format or table fixes; 0 where `bits` is free.
  int fixed_bits() const;
  // Numbers that one group stores in Coded::tables.
  int64_t table_numbers() const {
    if (kind == LevelKind::kLearnedTable) return int64_t{1} << bits;
    return kind == LevelKind::kBinaryCoding ? bits + 1 : 0;
  }
};

enum class Granularity : uint8_t {
  kUnspecified = 0,
  kTensor = 1,  // one set of parameters for the whole weight
  kRow = 2,     // one per output row
  kGroup = 3,   // one per `group_size` neighbours along `axis`
  kColumn = 4,  // one per input column
};

// Which way groups run.
enum class GroupAxis : uint8_t {
  kUnspecified = 0,
  kOut = 1,       // along a row: per-OC, the usual one
  kIn = 2,        // down a column: per-IC
  kAdaptive = 3,  // whichever leaves the smaller error, weight by weight (AdaDim)
};

// What happens when group_size does not divide the dimension that groups run along. Nothing changes
// silently.
enum class TailPolicy : uint8_t {
  kUnspecified = 0,
  kReject = 1,
  kShortLastGroup = 2,
};

// Partition axis.
struct Partition {
  Granularity granularity = Granularity::kGroup;
  int64_t group_size = 128;  // only for kGroup
  GroupAxis axis = GroupAxis::kOut;
  // Per-IC only: a group takes rows m / group_size apart (HQQ's axis 0) instead of neighbours.
  bool strided = false;
  TailPolicy tail = TailPolicy::kReject;

  // Parameters are shared down columns: one set serves GroupRows() rows of one column.
  bool per_ic() const {
    return granularity == Granularity::kColumn ||
           (granularity == Granularity::kGroup && axis == GroupAxis::kIn);
  }
  // Columns of one group / groups of one row, for a weight of n columns (n > 0), along a row.
  int64_t GroupColumns(int64_t n) const {
    if (per_ic()) return 1;
    return granularity == Granularity::kGroup && group_size < n ? group_size : n;
  }
  int64_t GroupsPerRow(int64_t n) const { return (n + GroupColumns(n) - 1) / GroupColumns(n); }
  // Rows of one group, for a weight of m rows: 1 unless per_ic() (a tensor counts as rows that
  // repeat one set).
  int64_t GroupRows(int64_t m) const {
    if (!per_ic()) return 1;
    return granularity == Granularity::kGroup && group_size < m ? group_size : m;
  }
};

enum class FitKind : uint8_t {
  kUnspecified = 0,
  kMinMax = 1,          // the range of the group
  kShrinkSearch = 2,    // the range times the factor with the least sum |w - w'|^norm
  kClipSearch = 3,      // the same, least (w - w') H_gg (w - w')^T over the group's block of H
  kHqq = 4,             // min-max scale, real zero by half-quadratic splitting
  kKMeans = 5,          // learned tables: weighted 1-D k-means
  kBinarySearch = 6,    // binary coding: the best sub-set of a finer linear grid (GPTQT)
  kResidualKMeans = 7,  // additive: one k-means after the other, then the solver's updates
  kGiven = 8,           // additive: CODEBOOKS and SCALES of the request; only codes are chosen
};

// How a residual k-means starts.
enum class Seeding : uint8_t {
  kUnspecified = 0,
  kRandom = 1,    // distinct points at random (AQLM)
  kPlusPlus = 2,  // by squared distance (k-means++)
  kFarthest = 3,  // the farthest point from those chosen
};

// What a squared error of one weight counts in a k-means, an outlier score or a search.
enum class Importance : uint8_t {
  kUnspecified = 0,
  kUniform = 1,
  kDiagonal = 2,  // H_jj
  kFisher = 3,    // FISHER [m, n]
};

// Fit axis: how parameters are found.
struct Fit {
  FitKind kind = FitKind::kMinMax;
  // Shrink and clip search: candidate factors are 1 - i * (1 - shrink_to) / steps, i = 0..steps.
  int steps = 80;          // 1..1000
  double shrink_to = 0.2;  // (0, 1]
  // Shrink search: [1, 4], 2 is the MSE. Hqq: p of the l_p norm, (0, 1].
  double norm = 2.0;
  // hqq: at most; k-means: rounds where it is not solved exactly; residual k-means: of each
  // codebook, at most. 1..1000
  int iterations = 20;
  double beta = 10.0;                            // hqq
  double kappa = 1.01;                           // hqq: beta grows by it each iteration
  Importance importance = Importance::kUniform;  // k-means
  int fine_bits = 5;  // binary search: bits of the finer grid, above levels.bits, at most 8
  Seeding seeding = Seeding::kPlusPlus;  // residual k-means
  uint32_t seed = 0;      // of the residual k-means and of the beam search's order of visits
  int refine_rounds = 0;  // residual k-means: rounds of H-weighted refinement after each. 0..100
  // Residual k-means: trains on at most this many patches a center, drawn at random; 0 = all.
  int64_t points_per_center = 0;
};

// How scales (and real zeros) are stored. They are rounded to it before codes are chosen.
enum class StorageKind : uint8_t {
  kUnspecified = 0,
  kF16 = 1,
  kBF16 = 2,
  kF32 = 3,
  kE8M0 = 4,    // a power of two, rounded as `rounding` says
  kE4M3 = 5,    // an E4M3 number times one F32 scale of the tensor (NVFP4)
  kInt = 6,     // `bits`-bit codes of scales and zeros over `super_group` rows, F16 above (SpQR)
  kNested = 7,  // 8-bit dynamic map over 256 scales of a row-major walk, F32 above (bitsandbytes)
  kTable = 8,   // `bits`-bit codes into 2^bits F16 scales of each out group's own (AQLM)
};

// How a block's largest magnitude becomes an exponent, E8M0 only.
enum class ScaleRounding : uint8_t {
  kUnspecified = 0,
  kFloor = 1,  // floor(log2 max) - emax: the OCP rule; may clip
  kCeil = 2,   // ceil(log2 max) - emax
  kRceil = 3,  // ceil(log2(max / largest level)): never clips
  kEven = 4,   // max rounded to the element's mantissa first, then floor
};

struct Storage {
  StorageKind kind = StorageKind::kF16;
  ScaleRounding rounding = ScaleRounding::kFloor;
  int bits = 3;          // kInt, kTable: 2..8
  int super_group = 16;  // kInt: rows that share second-level numbers

  // dtype of a scale that is stored as it is; U8 where a code is stored.
  DType dtype() const {
    switch (kind) {
      case StorageKind::kF32:
        return DType::kF32;
      case StorageKind::kBF16:
        return DType::kBF16;
      case StorageKind::kF16:
        return DType::kF16;
      default:
        return DType::kU8;
    }
  }
  // Scales are codes: Coded::scale_codes holds them beside their values.
  bool coded() const { return dtype() == DType::kU8; }
};

// Transform axis: the basis in which a weight is quantized.
enum class ScalingKind : uint8_t {
  kUnspecified = 0,
  kNone = 1,
  kAwq = 2,     // s = a^alpha, alpha with the least tr(D H D^T) out of `steps`
  kSmooth = 3,  // s = max|x|^alpha / max|W|^(1 - alpha)
};

enum class RotationKind : uint8_t {
  kUnspecified = 0,
  kNone = 1,
  kInput = 2,  // W R
  kBoth = 3,   // R_out^T W R_in
};

enum class CorrectionKind : uint8_t {
  kUnspecified = 0,
  kNone = 1,
  kQep = 2,  // W + alpha W (C - H) (H + lambda)^-1 before anything else
};

struct Transform {
  ScalingKind scaling = ScalingKind::kNone;
  int scaling_steps = 20;      // awq: alpha = i / steps, i < steps
  double scaling_alpha = 0.5;  // smooth
  RotationKind rotation = RotationKind::kNone;
  int64_t rotation_block = 0;  // a power of two; 0: the largest that divides, at most 256 for rows
  uint32_t rotation_seed = 0;
  CorrectionKind correction = CorrectionKind::kNone;
  double correction_alpha = 0.5;    // [0, 1]
  double correction_damping = 1.0;  // lambda / mean(diag H)

  bool any() const {
    return scaling != ScalingKind::kNone || rotation != RotationKind::kNone ||
           correction != CorrectionKind::kNone;
  }
};

// Exceptions axis: what is kept out of the code.
enum class OutlierKind : uint8_t {
  kUnspecified = 0,
  kNone = 1,
  kRange = 2,        // the `share` farthest from the middle of the quartiles
  kFisher = 3,       // the `share` with the largest FISHER
  kRangeFisher = 4,  // `share` by range and `second_share` by FISHER (SqueezeLLM)
  kGradient = 5,     // the `share` with the largest GRADIENT magnitude (GWQ)
  kThreshold = 6,    // e^2 / U_jj^2 above `threshold` times its mean during the sweep (SpQR)
  kColumnShare =
      7,  // `second_share` of each of the `column_share` best columns, `share` of others (CLAQ)
};

struct Exceptions {
  OutlierKind outliers = OutlierKind::kNone;
  double share = 0.01;      // of all weights, [0, 0.5]
  double second_share = 0;  // see OutlierKind
  double column_share = 0;  // see OutlierKind
  double threshold = 0.2;   // kThreshold: tau at 4 bits, four times as much for each bit less
  double max_share = 0.05;  // kThreshold: never more of a row than this
  double kept_columns = 0;  // share of columns kept F16, by H_jj |error_j|^2 (OWQ); [0, 0.5]
  int mask_kept = 0;        // n:m masks: at most `mask_kept` of `mask_of` neighbours are not 0
  int mask_of = 0;          // 0: no mask; 2..32
  int64_t recent_rows = 0;  // the last rows stay F16 (a KV tensor's newest tokens)

  bool stores_outliers() const {
    return outliers != OutlierKind::kNone && outliers != OutlierKind::kUnspecified;
  }
  bool any() const {
    return stores_outliers() || kept_columns > 0 || mask_of > 0 || recent_rows > 0;
  }
};

// Allocation axis.
enum class AllocationKind : uint8_t {
  kUnspecified = 0,
  kUniform = 1,
  kColumnScore = 2,  // `share` of the columns get `high_bits`, others levels.bits (CLAQ)
  kRoundOff = 3,     // fewest bits whose squared error is at most `factor` times the 8-bit one
};

struct Allocation {
  AllocationKind kind = AllocationKind::kUniform;
  int high_bits = 4;
  double share = 0.1;
  double factor = 100.0;

  // Columns have bits of their own: CodedShared::column_bits.
  bool by_column() const { return kind == AllocationKind::kColumnScore; }
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
  kBeam = 3,  // additive levels: beam search over codes, in turn with updates of the codebooks
};

// Beam: how codebooks follow new codes.
enum class CodebookRule : uint8_t {
  kUnspecified = 0,
  kConjugateGradients = 1,  // and scales in closed form
  kAdam = 2,                // codebooks and scales together (AQLM)
};

// Betas of Adam.
enum class AdamRule : uint8_t {
  kUnspecified = 0,
  kPaper = 1,  // 0.90, 0.95
  kCode = 2,   // 0.0, 0.95, with the largest second moment so far (amsgrad)
};

// lambda = fraction * mean(diag H). The ladder multiplies by `step` until the factorization
// succeeds or the fraction passes `limit`; each rung starts from the untouched H.
struct Damping {
  double fraction = 0.01;  // >= 0
  double step = 10.0;      // > 1
  double limit = 1.0;      // >= fraction
};

// Rungs of the ladder beyond the first: how often a factorization tries again before it gives up.
// kMaxRungs - 1 at most are climbed; a longer ladder is refused (methods/check.h).
inline constexpr int kMaxRungs = 32;
int LadderRetries(const Damping& damping);

// Solver axis: how codes are chosen. Fields from `order` on matter to kGptq only, those from `beam`
// on to kBeam only.
struct Solve {
  Solver solver = Solver::kRtn;
  Order order = Order::kNatural;
  GroupTiming timing = GroupTiming::kStatic;
  Factorization factorization = Factorization::kLdlq;
  int block_columns = 128;  // lazy batch; changes speed only. 1..1024
  Damping damping;
  double asymmetric = 0;            // GPTAQ's alpha: feedback of the cross moment, 0 = none. [0, 1]
  int descent_passes = 0;           // coordinate-descent polish after the sweep
  int fallback_descent_passes = 4;  // when no rung of the ladder factors: descent from RTN

  int beam = 1;             // hypotheses of each out group; 1..64
  int rounds = 100;         // at most; 0..10000
  double tolerance = 0.01;  // ends when a round lowers the loss by less than this share; 0 = never
  CodebookRule update = CodebookRule::kConjugateGradients;
  int update_steps = 3;         // of one round; 1..10000
  double learning_rate = 1e-4;  // Adam
  AdamRule adam = AdamRule::kPaper;
  // FitKind::kGiven: only this share of patches, those farthest from what their codes decode to,
  // get new codes. (0, 1]
  double changed_share = 1;
};

struct Spec {
  std::string method;  // "rtn", "gptq", ...
  Levels levels;
  Partition partition;
  Fit fit;
  Storage storage;
  Transform transform;
  Exceptions exceptions;
  Allocation allocation;
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
absl::string_view LevelKindName(LevelKind v);
absl::string_view ScalingKindName(ScalingKind v);
absl::string_view RotationKindName(RotationKind v);
absl::string_view OutlierKindName(OutlierKind v);
absl::string_view AllocationKindName(AllocationKind v);
absl::string_view StorageKindName(StorageKind v);
absl::string_view GroupAxisName(GroupAxis v);

}  // namespace quantd
