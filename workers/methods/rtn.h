// "rtn": round to nearest. methods.md 1.1.
#pragma once

#include "workers/methods/method.h"

namespace quantd {

const Method& RtnMethod();

}  // namespace quantd
