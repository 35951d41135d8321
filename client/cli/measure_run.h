// Measures what a frontier file does not know yet: Measure calls, a few at a time, each answer on
// disk before the next is taken.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/environment.h"
#include "client/cli/frontier.h"
#include "client/cli/plan_input.h"

namespace quantd::cli {

// The frontier of every layer that is not excluded, by module, with a figure or a refusal for every
// candidate that fits. Progress goes to env->err. Errors of the calls after all retries, CANCELLED
// when stopped: what was measured until then is in the file. RESOURCE_EXHAUSTED naming the layer
// that does not fit the server's budget alone.
absl::StatusOr<std::map<std::string, LayerFrontier>> MeasureFrontiers(const PlanInput& input,
                                                                      const PlanFlags& flags,
                                                                      FrontierFile* file,
                                                                      Environment* env);

}  // namespace quantd::cli
