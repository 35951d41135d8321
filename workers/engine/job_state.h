// The state of a whole job that another server of the same build can continue from: what lies in
// the bytes of a CHECKPOINT.
//
// Bytes, little-endian: "QDJS", u32 version, the request's digest (16 bytes), u32 count of weights,
// for each of them u64 length and the state of its solve (SolveWatch::OnState; none: length 0),
// and at the end the XXH3-128 of all bytes before it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/digest.h"
#include "workers/core/job.h"

namespace quantd {

// Tells requests apart that end in different bytes: the resolved spec, this build, and names,
// roles, dtypes, shapes and digests of all tensors but the CHECKPOINT. `digests` are those of the
// uploaded bytes, by tensor. Layout, id, policy and priority do not matter.
Digest RequestDigest(const QuantizeJob& job, absl::Span<const Digest> digests);

// What is known of each weight's solve. Not thread-safe.
class JobState {
 public:
  JobState(const Digest& request, int weights) : request_(request), states_(weights) {}

  // Takes the states over from the bytes of a CHECKPOINT, which outlive this and may come from
  // anywhere. INVALID_ARGUMENT for bytes that are no state or damaged, FAILED_PRECONDITION for one
  // of another request.
  absl::Status Load(absl::string_view bytes);

  // Of weight `weight`; empty where nothing is known. Valid until Set() for the same weight, and
  // for what Load() took over for good.
  absl::string_view Of(int weight) const { return states_[weight].bytes; }
  void Set(int weight, std::string state);

  // The bytes that Load() takes.
  std::string Compose() const;

 private:
  struct One {
    std::string own;          // empty: `bytes` are the CHECKPOINT's
    absl::string_view bytes;  // of `own`, or of the CHECKPOINT
  };

  const Digest request_;
  std::vector<One> states_;
};

}  // namespace quantd
