// The page of a quantization run: each layer's error, how it ended, and where the time went.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "workers/core/report.h"

namespace quantd {

struct QuantizePageLayer {
  TensorReport report;
  std::string spec;         // "gptq int4 g128 symmetric-minmax f16 act-order"
  std::string folded_into;  // norm that took its column scale; empty: none
};

struct QuantizePage {
  std::string title;                                       // the model's name
  std::vector<std::pair<std::string, std::string>> facts;  // label, value: rows of the head table
  std::vector<QuantizePageLayer> layers;                   // in the model's order
  StageSeconds seconds;                                    // summed over the run's requests
};

// One self-contained HTML document: inline style and SVG, no script, nothing fetched.
std::string RenderQuantizePage(const QuantizePage& page);

}  // namespace quantd
