// Where the time of a run went: by stage, and the layers that took longest.
#pragma once

#include <string>

#include "client/pages/quantize_page.h"

namespace quantd::pages {

// "" where no time was measured.
std::string Timings(const QuantizePage& page);

}  // namespace quantd::pages
