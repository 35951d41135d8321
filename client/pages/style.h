// The style sheet of all pages: colours of both schemes, type, tables and the classes of drawings.
#pragma once

#include "absl/strings/string_view.h"

namespace quantd::pages {

// Contains none of < and &, so that it may stand in XML as it is.
absl::string_view StyleSheet();

}  // namespace quantd::pages
