// What this server can do, as a message.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantd/v1/quantization_service.pb.h"
#include "server/session/options.h"

namespace quantd {

struct ServerFacts {
  std::string build_id;
  std::vector<MethodInfo> methods;
  std::vector<std::string> layouts;
  uint64_t budget_bytes = 0;
  int worker_threads = 0;
  std::string cpu;
  std::string blas;
  JobLimits limits;
};

v1::GetCapabilitiesResponse MakeCapabilities(const ServerFacts& facts);

}  // namespace quantd
