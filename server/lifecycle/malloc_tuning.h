// Keeps malloc from giving message buffers back to the kernel after each message.
#pragma once

namespace quantd {

// Call first thing in main, before any thread: about doubles gRPC's throughput with 1 MiB messages,
// because a fresh mapping per message costs more in page faults than the copy itself. Both
// thresholds are needed; either alone gains nothing. Freed memory stays in the process, bounded by
// the transport quota; tensors live in mappings of their own (workers/core/buffer.h) and are not
// affected.
void TuneMalloc();

}  // namespace quantd
