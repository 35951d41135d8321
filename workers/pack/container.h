// What a public container leaves out of all that a spec can say. Each public layout names the one
// kind of levels and the storages that its readers know; everything else is refused here, in one
// voice.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/spec.h"

namespace quantd {

struct Container {
  LevelKind levels = LevelKind::kAffineInt;
  bool real_zeros = false;
  bool outliers = false;
  absl::Span<const StorageKind> storages;
  absl::string_view storage_reason;  // ", because ..." or empty
};

// OK if `spec`, which passed CheckStorable(), says nothing beyond `container`: its levels and
// storage, groups along rows, no kept columns, recent rows, column bits or rotation. Masks and
// column scales are open to all. INVALID_ARGUMENT naming axis, value and what is taken otherwise.
absl::Status CheckContainer(absl::string_view layout, const Spec& spec, const Container& container);

// OK if the groups are the format's blocks of `block` neighbouring columns, whole ones in every row
// of n columns. INVALID_ARGUMENT naming axis, value and what is taken otherwise.
absl::Status CheckBlocks(absl::string_view layout, const Spec& spec, int64_t m, int64_t n,
                         int64_t block);

}  // namespace quantd
