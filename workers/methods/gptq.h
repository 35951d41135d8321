// "gptq": error feedback through H, with the damping ladder and coordinate descent as the named
// fall-back. Frantar et al. 2022, arXiv 2210.17323; methods.md part C.
#pragma once

#include "workers/methods/method.h"

namespace quantd {

const Method& GptqMethod();

}  // namespace quantd
