#include "workers/core/tensor.h"

namespace quantd {

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kUnspecified:
      return "UNSPECIFIED";
    case Role::kWeight:
      return "WEIGHT";
    case Role::kHessian:
      return "HESSIAN";
    case Role::kActivations:
      return "ACTIVATIONS";
    case Role::kChannelAbsMean:
      return "CHANNEL_ABS_MEAN";
    case Role::kChannelAbsMax:
      return "CHANNEL_ABS_MAX";
    case Role::kFisher:
      return "FISHER";
    case Role::kCrossMoment:
      return "CROSS_MOMENT";
    case Role::kTokenWeight:
      return "TOKEN_WEIGHT";
    case Role::kPacked:
      return "PACKED";
    case Role::kGradient:
      return "GRADIENT";
    case Role::kRotationSigns:
      return "ROTATION_SIGNS";
    case Role::kCodebooks:
      return "CODEBOOKS";
    case Role::kScales:
      return "SCALES";
    case Role::kCodes:
      return "CODES";
    case Role::kCheckpoint:
      return "CHECKPOINT";
  }
  return "UNKNOWN";
}

}  // namespace quantd
