// The text of status_page.html, which the build puts into the binary.
#pragma once

namespace quantd {

extern const char kStatusPage[];

}  // namespace quantd
