// Specs. Numbers are checked one by one here; whether axes go together is the engine's to say.
#include <algorithm>
#include <cmath>
#include <limits>

#include "proto/wire/codec.h"
#include "proto/wire/codec_parts.h"
#include "workers/core/status_macros.h"

namespace quantd::wire {
namespace {

constexpr int kMaxDescentPasses = 100;

// Domain and wire enums share their numbers; a value added on one side only stops the build.
static_assert(v1::Symmetry_MAX == static_cast<int>(Symmetry::kSymmetricFullRange));
static_assert(v1::SYMMETRY_ASYMMETRIC == static_cast<int>(Symmetry::kAsymmetric));
static_assert(v1::SYMMETRY_SYMMETRIC_MINMAX == static_cast<int>(Symmetry::kSymmetricMinMax));
static_assert(v1::SYMMETRY_SYMMETRIC_ABSMAX == static_cast<int>(Symmetry::kSymmetricAbsMax));
static_assert(v1::Granularity_MAX == static_cast<int>(Granularity::kGroup));
static_assert(v1::GRANULARITY_TENSOR == static_cast<int>(Granularity::kTensor));
static_assert(v1::GRANULARITY_ROW == static_cast<int>(Granularity::kRow));
static_assert(v1::TailPolicy_MAX == static_cast<int>(TailPolicy::kShortLastGroup));
static_assert(v1::TAIL_POLICY_REJECT == static_cast<int>(TailPolicy::kReject));
static_assert(v1::FitKind_MAX == static_cast<int>(FitKind::kShrinkSearch));
static_assert(v1::FIT_KIND_MIN_MAX == static_cast<int>(FitKind::kMinMax));
static_assert(v1::Order_MAX == static_cast<int>(Order::kGroupAware));
static_assert(v1::ORDER_NATURAL == static_cast<int>(Order::kNatural));
static_assert(v1::ORDER_ACT_ORDER == static_cast<int>(Order::kActOrder));
static_assert(v1::GroupTiming_MAX == static_cast<int>(GroupTiming::kDynamic));
static_assert(v1::GROUP_TIMING_STATIC == static_cast<int>(GroupTiming::kStatic));
static_assert(v1::Factorization_MAX == static_cast<int>(Factorization::kCholesky));
static_assert(v1::FACTORIZATION_LDLQ == static_cast<int>(Factorization::kLdlq));

absl::Status ParseLevels(const v1::AffineInt& message, const FieldPath& path, AffineInt* levels) {
  if (message.bits() != 0) {
    QUANTD_RETURN_IF_ERROR(Require(message.bits() >= 2 && message.bits() <= 8, path.Field("bits"),
                                   message.bits(), "2..8"));
    levels->bits = static_cast<int>(message.bits());
  }
  return TakeEnum(path.Field("symmetry"), message.symmetry(), v1::Symmetry_IsValid,
                  &levels->symmetry);
}

absl::Status ParsePartition(const v1::Partition& message, const FieldPath& path,
                            Partition* partition) {
  QUANTD_RETURN_IF_ERROR(TakeEnum(path.Field("granularity"), message.granularity(),
                                  v1::Granularity_IsValid, &partition->granularity));
  if (message.group_size() != 0) partition->group_size = message.group_size();
  return TakeEnum(path.Field("tail"), message.tail(), v1::TailPolicy_IsValid, &partition->tail);
}

absl::Status ParseFit(const v1::Fit& message, const FieldPath& path, Fit* fit) {
  QUANTD_RETURN_IF_ERROR(
      TakeEnum(path.Field("kind"), message.kind(), v1::FitKind_IsValid, &fit->kind));
  if (message.steps() != 0) {
    QUANTD_RETURN_IF_ERROR(
        Require(message.steps() <= 1000, path.Field("steps"), message.steps(), "1..1000"));
    fit->steps = static_cast<int>(message.steps());
  }
  if (message.shrink_to() != 0) {
    QUANTD_RETURN_IF_ERROR(Require(message.shrink_to() > 0 && message.shrink_to() <= 1,
                                   path.Field("shrink_to"), message.shrink_to(), "(0, 1]"));
    fit->shrink_to = message.shrink_to();
  }
  if (message.norm() != 0) {
    QUANTD_RETURN_IF_ERROR(Require(message.norm() >= 1 && message.norm() <= 4, path.Field("norm"),
                                   message.norm(), "[1, 4]"));
    fit->norm = message.norm();
  }
  return absl::OkStatus();
}

absl::Status ParseScaleStorage(const v1::QuantizationSpec& message, const FieldPath& path,
                               DType* dtype) {
  switch (message.scale_storage()) {
    case v1::SCALE_STORAGE_UNSPECIFIED:
      return absl::OkStatus();
    case v1::SCALE_STORAGE_F16:
      *dtype = DType::kF16;
      return absl::OkStatus();
    case v1::SCALE_STORAGE_BF16:
      *dtype = DType::kBF16;
      return absl::OkStatus();
    case v1::SCALE_STORAGE_F32:
      *dtype = DType::kF32;
      return absl::OkStatus();
    default:
      return Invalid(
          path.Field("scale_storage"),
          absl::StrCat(static_cast<int>(message.scale_storage()), " is not a known value"));
  }
}

absl::Status ParseDamping(const v1::Damping& message, const FieldPath& path, Damping* damping) {
  if (message.has_fraction()) {
    QUANTD_RETURN_IF_ERROR(Require(message.fraction() >= 0 && std::isfinite(message.fraction()),
                                   path.Field("fraction"), message.fraction(), "[0, inf)"));
    damping->fraction = message.fraction();
  }
  if (message.step() != 0) {
    QUANTD_RETURN_IF_ERROR(Require(message.step() > 1 && std::isfinite(message.step()),
                                   path.Field("step"), message.step(), "(1, inf)"));
    damping->step = message.step();
  }
  if (message.limit() != 0) damping->limit = message.limit();
  return Require(damping->limit >= damping->fraction && std::isfinite(damping->limit),
                 path.Field("limit"), damping->limit,
                 absl::StrCat("[", damping->fraction, ", inf), from fraction up"));
}

absl::Status ParseGptq(const v1::GptqMethod& message, const FieldPath& path, Solve* solve) {
  QUANTD_RETURN_IF_ERROR(
      TakeEnum(path.Field("order"), message.order(), v1::Order_IsValid, &solve->order));
  QUANTD_RETURN_IF_ERROR(
      TakeEnum(path.Field("timing"), message.timing(), v1::GroupTiming_IsValid, &solve->timing));
  // Ldlq needs all scales beforehand, so the default follows the timing.
  if (solve->timing == GroupTiming::kDynamic) solve->factorization = Factorization::kCholesky;
  QUANTD_RETURN_IF_ERROR(TakeEnum(path.Field("factorization"), message.factorization(),
                                  v1::Factorization_IsValid, &solve->factorization));
  if (message.block_columns() != 0) {
    QUANTD_RETURN_IF_ERROR(Require(message.block_columns() <= 1024, path.Field("block_columns"),
                                   message.block_columns(), "1..1024"));
    solve->block_columns = static_cast<int>(message.block_columns());
  }
  QUANTD_RETURN_IF_ERROR(ParseDamping(message.damping(), path.Field("damping"), &solve->damping));
  QUANTD_RETURN_IF_ERROR(Require(message.descent_passes() <= kMaxDescentPasses,
                                 path.Field("descent_passes"), message.descent_passes(),
                                 "0..1000"));
  solve->descent_passes = static_cast<int>(message.descent_passes());
  if (message.has_fallback_descent_passes()) {
    QUANTD_RETURN_IF_ERROR(Require(message.fallback_descent_passes() <= kMaxDescentPasses,
                                   path.Field("fallback_descent_passes"),
                                   message.fallback_descent_passes(), "0..1000"));
    solve->fallback_descent_passes = static_cast<int>(message.fallback_descent_passes());
  }
  return absl::OkStatus();
}

v1::ScaleStorage ScaleStorageToProto(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return v1::SCALE_STORAGE_F16;
    case DType::kBF16:
      return v1::SCALE_STORAGE_BF16;
    case DType::kF32:
      return v1::SCALE_STORAGE_F32;
    default:
      return v1::SCALE_STORAGE_UNSPECIFIED;
  }
}

uint32_t ClampToU32(int64_t value) {
  return static_cast<uint32_t>(std::clamp<int64_t>(value, 0, std::numeric_limits<uint32_t>::max()));
}

void PutGptq(const Solve& solve, v1::GptqMethod* message) {
  message->set_order(static_cast<v1::Order>(solve.order));
  message->set_timing(static_cast<v1::GroupTiming>(solve.timing));
  message->set_factorization(static_cast<v1::Factorization>(solve.factorization));
  message->set_block_columns(ClampToU32(solve.block_columns));
  v1::Damping* damping = message->mutable_damping();
  damping->set_fraction(solve.damping.fraction);
  damping->set_step(solve.damping.step);
  damping->set_limit(solve.damping.limit);
  message->set_descent_passes(ClampToU32(solve.descent_passes));
  message->set_fallback_descent_passes(ClampToU32(solve.fallback_descent_passes));
}

void PutMethod(const Spec& spec, v1::QuantizationSpec* message) {
  if (spec.method == "rtn") message->mutable_rtn();
  if (spec.method == "gptq") PutGptq(spec.solve, message->mutable_gptq());
}

}  // namespace

Spec PresetSpec(v1::QuantizationSpec::MethodCase method) {
  Spec spec;
  switch (method) {
    case v1::QuantizationSpec::kRtn:
      spec.method = "rtn";
      spec.solve.solver = Solver::kRtn;
      break;
    case v1::QuantizationSpec::kGptq:
      spec.method = "gptq";
      spec.solve.solver = Solver::kGptq;
      spec.solve.order = Order::kActOrder;
      break;
    case v1::QuantizationSpec::METHOD_NOT_SET:
      break;
  }
  return spec;
}

absl::StatusOr<Spec> ParseSpec(const v1::QuantizationSpec& message, const FieldPath& path) {
  Spec spec = PresetSpec(message.method_case());
  switch (message.method_case()) {
    case v1::QuantizationSpec::kRtn:
      break;
    case v1::QuantizationSpec::kGptq:
      QUANTD_RETURN_IF_ERROR(ParseGptq(message.gptq(), path.Field("gptq"), &spec.solve));
      break;
    case v1::QuantizationSpec::METHOD_NOT_SET:
      return Invalid(path.Field("method"), "missing, or one that this version does not know");
  }
  QUANTD_RETURN_IF_ERROR(ParseLevels(message.levels(), path.Field("levels"), &spec.levels));
  QUANTD_RETURN_IF_ERROR(
      ParsePartition(message.partition(), path.Field("partition"), &spec.partition));
  QUANTD_RETURN_IF_ERROR(ParseFit(message.fit(), path.Field("fit"), &spec.fit));
  QUANTD_RETURN_IF_ERROR(ParseScaleStorage(message, path, &spec.scale_dtype));
  return spec;
}

absl::StatusOr<Spec> FromProto(const v1::QuantizationSpec& spec) {
  return ParseSpec(spec, FieldPath("spec"));
}

void Put(const Spec& spec, v1::QuantizationSpec* message) {
  message->Clear();
  PutMethod(spec, message);
  message->mutable_levels()->set_bits(ClampToU32(spec.levels.bits));
  message->mutable_levels()->set_symmetry(static_cast<v1::Symmetry>(spec.levels.symmetry));
  v1::Partition* partition = message->mutable_partition();
  partition->set_granularity(static_cast<v1::Granularity>(spec.partition.granularity));
  partition->set_group_size(ClampToU32(spec.partition.group_size));
  partition->set_tail(static_cast<v1::TailPolicy>(spec.partition.tail));
  v1::Fit* fit = message->mutable_fit();
  fit->set_kind(static_cast<v1::FitKind>(spec.fit.kind));
  fit->set_steps(ClampToU32(spec.fit.steps));
  fit->set_shrink_to(spec.fit.shrink_to);
  fit->set_norm(spec.fit.norm);
  message->set_scale_storage(ScaleStorageToProto(spec.scale_dtype));
}

}  // namespace quantd::wire
