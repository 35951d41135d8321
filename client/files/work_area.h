// What an unfinished output folder keeps below `quantd-work/` beside its shards:
//  - tensors that have no place in them yet: one safetensors file per module, tensors named by
//  their
//    suffix;
//  - states of solves under way, from which a later run goes on: `<module>.state`, a safetensors
//    file, too.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/files/safetensors_reader.h"
#include "workers/core/digest.h"
#include "workers/core/packed.h"

namespace quantd {

inline constexpr char kWorkAreaName[] = "quantd-work";

// A stored state, checked. Its bytes are a view of the mapped file: they stay as they are while
// this lives, also when a newer state takes the file's place.
struct StoredState {
  SafetensorsFile file;
  absl::Span<const std::byte> bytes;
  Digest digest;  // of the bytes
};

// Calls for different modules may run at the same time.
class WorkArea {
 public:
  // `dir` is the output folder. Nothing is created before the first Put().
  explicit WorkArea(const std::string& dir);

  // Replaces the module's file as a whole; on disk when it returns. RESOURCE_EXHAUSTED on a full
  // disk.
  absl::Status Put(int module, absl::Span<const PackedView> tensors);

  // NOT_FOUND without a file; INVALID_ARGUMENT for one that is damaged.
  absl::StatusOr<SafetensorsFile> Open(int module) const;

  // The same for the state of the job that makes `modules` (not empty; the first one names the
  // file). A state of another set of modules in that file is FAILED_PRECONDITION.
  absl::Status PutState(absl::Span<const int> modules, absl::string_view state);
  absl::StatusOr<StoredState> OpenState(absl::Span<const int> modules) const;
  // OK where there is none.
  absl::Status RemoveState(int first_module);

  uint64_t StoredBytes() const;  // of all its files but the states

  // Deletes everything in it.
  absl::Status Remove();

 private:
  std::string PathOf(int module) const;
  std::string StatePathOf(int module) const;
  absl::Status Write(const std::string& path, absl::Span<const PackedView> tensors);

  const std::string dir_;
};

}  // namespace quantd
