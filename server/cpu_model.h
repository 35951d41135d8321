// The CPU's name, for logs and capabilities.
#pragma once

#include <string>

namespace quantd {

// "Intel(R) Xeon(R) ...", or "unknown".
std::string CpuModel();

}  // namespace quantd
