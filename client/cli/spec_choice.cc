#include "client/cli/spec_choice.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "proto/wire/codec.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

constexpr std::array<absl::string_view, 10> kKeys = {
    "method", "bits",   "group-size", "symmetry",    "fit",
    "order",  "timing", "damping",    "scale-dtype", "tail"};

absl::Status Bad(absl::string_view key, absl::string_view value, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat(key, ": \"", value, "\" is not ", allowed));
}

// Sets *field to the enum value whose name is `value`.
template <typename E, typename NameOf>
absl::Status SetEnum(absl::string_view key, absl::string_view value,
                     std::initializer_list<E> values, NameOf name_of, std::optional<E>* field) {
  std::vector<std::string> names;
  for (E candidate : values) {
    if (name_of(candidate) == value) {
      *field = candidate;
      return absl::OkStatus();
    }
    names.emplace_back(name_of(candidate));
  }
  return Bad(key, value, absl::StrJoin(names, ", "));
}

absl::Status SetGroupSize(absl::string_view value, SpecChoice* choice) {
  int64_t columns = 0;
  if (value != "row" && value != "tensor" &&
      (!absl::SimpleAtoi(value, &columns) || columns < 1 || columns > (int64_t{1} << 30))) {
    return Bad("group-size", value, "a number of columns from 1 up, \"row\" or \"tensor\"");
  }
  choice->group_size = std::string(value);
  return absl::OkStatus();
}

absl::Status SetNumber(absl::string_view key, absl::string_view value, SpecChoice* choice) {
  if (key == "bits") {
    int bits = 0;
    if (!absl::SimpleAtoi(value, &bits) || bits < 2 || bits > 8) {
      return Bad(key, value, "a whole number from 2 to 8");
    }
    choice->bits = bits;
    return absl::OkStatus();
  }
  double damping = 0;
  if (!absl::SimpleAtod(value, &damping) || !std::isfinite(damping) || damping < 0 || damping > 1) {
    return Bad(key, value, "a number from 0 to 1");
  }
  choice->damping = damping;
  return absl::OkStatus();
}

void PutGroups(const SpecChoice& choice, v1::QuantizationSpec* spec) {
  v1::Partition* partition = spec->mutable_partition();
  if (choice.group_size) {
    uint32_t columns = 0;
    if (*choice.group_size == "row") {
      partition->set_granularity(v1::GRANULARITY_ROW);
    } else if (*choice.group_size == "tensor") {
      partition->set_granularity(v1::GRANULARITY_TENSOR);
    } else if (absl::SimpleAtoi(*choice.group_size, &columns)) {
      partition->set_granularity(v1::GRANULARITY_GROUP);
      partition->set_group_size(columns);
    }
  }
  if (choice.tail) partition->set_tail(static_cast<v1::TailPolicy>(*choice.tail));
}

absl::Status PutMethod(const SpecChoice& choice, v1::QuantizationSpec* spec) {
  const std::string method = choice.method.value_or("rtn");
  if (method == "rtn") {
    spec->mutable_rtn();
    return absl::OkStatus();
  }
  if (method != "gptq") return Bad("method", method, "rtn, gptq");
  v1::GptqMethod* gptq = spec->mutable_gptq();
  if (choice.order) gptq->set_order(static_cast<v1::Order>(*choice.order));
  if (choice.timing) gptq->set_timing(static_cast<v1::GroupTiming>(*choice.timing));
  if (choice.damping) gptq->mutable_damping()->set_fraction(*choice.damping);
  return absl::OkStatus();
}

}  // namespace

absl::Status SetField(absl::string_view key, absl::string_view value, SpecChoice* choice) {
  if (key == "method") {
    if (value != "rtn" && value != "gptq") return Bad(key, value, "rtn, gptq");
    choice->method = std::string(value);
    return absl::OkStatus();
  }
  if (key == "bits" || key == "damping") return SetNumber(key, value, choice);
  if (key == "group-size") return SetGroupSize(value, choice);
  if (key == "symmetry") {
    return SetEnum(key, value,
                   {Symmetry::kAsymmetric, Symmetry::kSymmetricMinMax, Symmetry::kSymmetricAbsMax,
                    Symmetry::kSymmetricFullRange},
                   SymmetryName, &choice->symmetry);
  }
  if (key == "fit") {
    return SetEnum(key, value, {FitKind::kMinMax, FitKind::kShrinkSearch}, FitKindName,
                   &choice->fit);
  }
  if (key == "order") {
    return SetEnum(key, value, {Order::kNatural, Order::kActOrder, Order::kGroupAware}, OrderName,
                   &choice->order);
  }
  if (key == "timing") {
    return SetEnum(key, value, {GroupTiming::kStatic, GroupTiming::kDynamic}, GroupTimingName,
                   &choice->timing);
  }
  if (key == "scale-dtype") {
    return SetEnum(key, value, {DType::kF16, DType::kBF16, DType::kF32}, DTypeName,
                   &choice->scale_dtype);
  }
  if (key == "tail") {
    return SetEnum(key, value, {TailPolicy::kReject, TailPolicy::kShortLastGroup}, TailPolicyName,
                   &choice->tail);
  }
  return absl::NotFoundError(absl::StrCat("unknown key \"", key, "\""));
}

std::string KnownKeys() { return absl::StrJoin(kKeys, ", "); }

SpecChoice Overlay(const SpecChoice& base, const SpecChoice& over) {
  SpecChoice result = base;
  if (over.method) result.method = over.method;
  if (over.bits) result.bits = over.bits;
  if (over.group_size) result.group_size = over.group_size;
  if (over.symmetry) result.symmetry = over.symmetry;
  if (over.fit) result.fit = over.fit;
  if (over.order) result.order = over.order;
  if (over.timing) result.timing = over.timing;
  if (over.damping) result.damping = over.damping;
  if (over.scale_dtype) result.scale_dtype = over.scale_dtype;
  if (over.tail) result.tail = over.tail;
  return result;
}

absl::StatusOr<Spec> ResolveSpec(const SpecChoice& choice) {
  v1::QuantizationSpec message;
  QUANTD_RETURN_IF_ERROR(PutMethod(choice, &message));
  PutGroups(choice, &message);
  if (choice.bits) message.mutable_levels()->set_bits(*choice.bits);
  if (choice.symmetry) {
    message.mutable_levels()->set_symmetry(static_cast<v1::Symmetry>(*choice.symmetry));
  }
  if (choice.fit) message.mutable_fit()->set_kind(static_cast<v1::FitKind>(*choice.fit));
  if (choice.scale_dtype) {
    message.set_scale_storage(*choice.scale_dtype == DType::kF16    ? v1::SCALE_STORAGE_F16
                              : *choice.scale_dtype == DType::kBF16 ? v1::SCALE_STORAGE_BF16
                                                                    : v1::SCALE_STORAGE_F32);
  }
  return wire::FromProto(message);
}

}  // namespace quantd::cli
