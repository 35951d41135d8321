#include "workers/core/buffer_copy.h"

#include <algorithm>
#include <cstring>

#include "workers/core/shape.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

// A few ms of copying, page faults included.
constexpr uint64_t kPieceBytes = uint64_t{4} << 20;

}  // namespace

absl::StatusOr<Buffer> CopyOf(const Buffer& from, Executor& executor, const CancelToken& cancel) {
  QUANTD_ASSIGN_OR_RETURN(Buffer to, Buffer::AllocateUnfilled(from.size()));
  const int64_t pieces = CeilDiv(static_cast<int64_t>(from.size()), kPieceBytes);
  executor.ParallelFor(pieces, [&](int64_t p) {
    if (cancel.cancelled()) return;
    const uint64_t begin = static_cast<uint64_t>(p) * kPieceBytes;
    std::memcpy(to.data() + begin, from.data() + begin, std::min(kPieceBytes, from.size() - begin));
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  return to;
}

}  // namespace quantd
