// The two drawings of a plan that are about the model as a whole.
#pragma once

#include <string>

#include "client/pages/plan_page.h"

namespace quantd::pages {

// The least error by bits, the uniform plans and the plan, with a table of them; "" where there is
// nothing to draw.
std::string FrontierChart(const PlanPage& page);

// The law's curves and where the plan lies among them; "" without curves.
std::string LawChart(const PlanPage& page);

}  // namespace quantd::pages
