#include "workers/core/report.h"

namespace quantd {

absl::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kUnspecified:
      break;
    case Outcome::kOk:
      return "OK";
    case Outcome::kDegraded:
      return "DEGRADED";
    case Outcome::kRejected:
      return "REJECTED";
  }
  return "UNSPECIFIED";
}

absl::string_view OutcomeCauseName(OutcomeCause cause) {
  switch (cause) {
    case OutcomeCause::kNone:
      return "none";
    case OutcomeCause::kDamping:
      return "damping";
    case OutcomeCause::kNoFactor:
      return "no_factor";
    case OutcomeCause::kNoSignal:
      return "no_signal";
    case OutcomeCause::kNotFinite:
      return "not_finite";
    case OutcomeCause::kScaleRange:
      return "scale_range";
    case OutcomeCause::kPolicy:
      return "policy";
    case OutcomeCause::kOther:
      break;
  }
  return "other";
}

Outcome JobReport::outcome() const {
  Outcome worst = Outcome::kOk;
  for (const TensorReport& t : tensors) worst = t.outcome > worst ? t.outcome : worst;
  return worst;
}

}  // namespace quantd
