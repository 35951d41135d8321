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

Outcome JobReport::outcome() const {
  Outcome worst = Outcome::kOk;
  for (const TensorReport& t : tensors) worst = t.outcome > worst ? t.outcome : worst;
  return worst;
}

}  // namespace quantd
