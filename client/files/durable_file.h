// Files that are complete or not there: write aside, fsync, rename.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

// What a file has as long as it is not complete.
inline constexpr char kPartialSuffix[] = ".partial";

// The status of a failed system call on a file. A full disk, quota or file-size limit is
// RESOURCE_EXHAUSTED.
absl::Status FileError(int error, absl::string_view what);

// All of `bytes` at `offset`.
absl::Status WriteFully(int fd, uint64_t offset, absl::Span<const std::byte> bytes,
                        absl::string_view path);

// Replaces `path` as a whole.
absl::Status WriteDurably(const std::string& path, absl::string_view text);

// Copies a regular file, through `to`.partial. Contents only, no ownership.
absl::Status CopyDurably(const std::string& from, const std::string& to);

// Makes renames and deletions inside `dir` survive a power cut.
absl::Status SyncFolder(const std::string& dir);

// Copies what stands beside the weights (tokenizer, chat template, code, subfolders such as
// 1_Pooling) from one model folder to another. Left out: at the top level safetensors files, their
// index, config.json, quantize_config.json, weights of other frameworks (they hold the dense model)
// and what an interrupted run left; everywhere names that begin with a dot. Links to files are
// followed, links to folders are not.
absl::Status CopyCompanions(const std::string& from, const std::string& to);

}  // namespace quantd
