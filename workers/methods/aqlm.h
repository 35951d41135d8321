// AQLM: patches of weights as sums of codebook entries.
#pragma once

#include "workers/methods/method.h"

namespace quantd {

const Method& Aqlm();

}  // namespace quantd
