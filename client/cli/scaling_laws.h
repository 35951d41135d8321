// The text of scaling_laws.yaml, which the build puts into the binary.
#pragma once

namespace quantd::cli {

extern const char kScalingLawsYaml[];

}  // namespace quantd::cli
