// What a run made of its layers, as text.
#pragma once

#include <string>
#include <vector>

#include "client/cli/report_json.h"

namespace quantd::cli {

// A row per layer.
std::string LayerTable(const std::vector<LayerRecord>& records);

}  // namespace quantd::cli
