// Where exceptions of the work end: jobs return statuses, but their libraries may throw.
#pragma once

#include <exception>
#include <new>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace quantd {

// f(), or RESOURCE_EXHAUSTED for bad_alloc and INTERNAL for every other exception. R is a Status or
// a StatusOr; `what` names the step.
template <typename R, typename F>
R Guarded(absl::string_view what, F f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat(what, ": ", e.what()));
  } catch (...) {
    return absl::InternalError(absl::StrCat(what, ": unknown exception"));
  }
}

}  // namespace quantd
