// A law that several tests plant and ask.
#pragma once

#include "workers/planner/scaling_law.h"

namespace quantd {

// Our refit of the published figures, the row with d = 0 (client/cli/scaling_laws.yaml).
inline ScalingLaw RefitLaw() {
  ScalingLaw law;
  law.c = 0.00103;
  law.a = 4.955;
  law.gamma_n = 0.512;
  law.gamma_b = 0.425;
  law.domain = {{0.5, 32}, {0.5, 0.99}, {16, 512}};
  return law;
}

}  // namespace quantd
