// Which sources this binary was made of.
#pragma once

namespace quantd {

extern const char* const kRevision;  // as given to the build by -DQUANTD_REVISION, else "unknown"

}  // namespace quantd
