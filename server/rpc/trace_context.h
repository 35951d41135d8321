// W3C Trace Context, level 1: the `traceparent` header.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "grpcpp/server_context.h"

namespace quantd {

inline constexpr char kTraceParentKey[] = "traceparent";

// version "00": 2, 32, 16 and 2 lower-case hex digits joined by dashes, ids not all zero.
bool IsTraceParent(absl::string_view text);

// The call's traceparent when it is a valid one, else "": what comes from outside reaches logs and
// metadata only in this shape. Echoed as trailing metadata.
std::string AcceptTraceParent(grpc::CallbackServerContext* context);

}  // namespace quantd
