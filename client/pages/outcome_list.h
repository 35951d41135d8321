// What a reader of a run must know: which layers did not end as asked, then what is worth a note.
#pragma once

#include <string>

#include "client/pages/quantize_page.h"

namespace quantd::pages {

// "OK", "DEGRADED", "REJECTED" as HTML, each with a sign of its own.
std::string OutcomeCell(Outcome outcome);

// REJECTED and DEGRADED layers with their reasons, then notes, equal ones together; a sentence when
// there are none of either.
std::string OutcomeList(const QuantizePage& page);

}  // namespace quantd::pages
