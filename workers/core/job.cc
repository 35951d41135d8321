#include "workers/core/job.h"

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace quantd {

std::string ModuleName(const std::string& weight_name) {
  return std::string(absl::StripSuffix(weight_name, ".weight"));
}

}  // namespace quantd
