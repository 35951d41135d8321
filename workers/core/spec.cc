#include "workers/core/spec.h"

namespace quantd {

absl::string_view SymmetryName(Symmetry v) {
  switch (v) {
    case Symmetry::kUnspecified:
      break;
    case Symmetry::kAsymmetric:
      return "asymmetric";
    case Symmetry::kSymmetricMinMax:
      return "symmetric-minmax";
    case Symmetry::kSymmetricAbsMax:
      return "symmetric-absmax";
    case Symmetry::kSymmetricFullRange:
      return "symmetric-full-range";
  }
  return "unspecified";
}

absl::string_view GranularityName(Granularity v) {
  switch (v) {
    case Granularity::kUnspecified:
      break;
    case Granularity::kTensor:
      return "tensor";
    case Granularity::kRow:
      return "row";
    case Granularity::kGroup:
      return "group";
  }
  return "unspecified";
}

absl::string_view TailPolicyName(TailPolicy v) {
  switch (v) {
    case TailPolicy::kUnspecified:
      break;
    case TailPolicy::kReject:
      return "reject";
    case TailPolicy::kShortLastGroup:
      return "short-last-group";
  }
  return "unspecified";
}

absl::string_view FitKindName(FitKind v) {
  switch (v) {
    case FitKind::kUnspecified:
      break;
    case FitKind::kMinMax:
      return "min-max";
    case FitKind::kShrinkSearch:
      return "shrink-search";
  }
  return "unspecified";
}

absl::string_view OrderName(Order v) {
  switch (v) {
    case Order::kUnspecified:
      break;
    case Order::kNatural:
      return "natural";
    case Order::kActOrder:
      return "act-order";
    case Order::kGroupAware:
      return "group-aware";
  }
  return "unspecified";
}

absl::string_view GroupTimingName(GroupTiming v) {
  switch (v) {
    case GroupTiming::kUnspecified:
      break;
    case GroupTiming::kStatic:
      return "static";
    case GroupTiming::kDynamic:
      return "dynamic";
  }
  return "unspecified";
}

absl::string_view FactorizationName(Factorization v) {
  switch (v) {
    case Factorization::kUnspecified:
      break;
    case Factorization::kLdlq:
      return "ldlq";
    case Factorization::kCholesky:
      return "cholesky";
  }
  return "unspecified";
}

absl::string_view SolverName(Solver v) {
  switch (v) {
    case Solver::kUnspecified:
      break;
    case Solver::kRtn:
      return "rtn";
    case Solver::kGptq:
      return "gptq";
  }
  return "unspecified";
}

}  // namespace quantd
