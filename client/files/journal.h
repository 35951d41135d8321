// The list of finished modules of a run, one JSON object a line: `quantd-journal.jsonl` in an
// output folder, or the frontier of a plan under a name of its own.
//
//   {"quantd_journal":1,"plan":"<32 hex digits>","tool":"0.1.0"}
//   {"module":"model.layers.0.mlp.up_proj","source":"<hex>","digests":["<hex>",...],"report":"{...}"}
// A line also has "outcome":"{...}" where the module's sizes came with the work.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "workers/core/digest.h"

namespace quantd {

inline constexpr char kJournalName[] = "quantd-journal.jsonl";

struct JournalEntry {
  std::string module;
  Digest source;                // over the source tensors that the module was made from
  std::vector<Digest> digests;  // of the stored tensors, in delivery order
  std::string report_json;
  std::string outcome_json;  // empty where the plan says everything
};

// Holds an exclusive lock on the file while it lives. Append is thread-safe.
class Journal {
 public:
  // FAILED_PRECONDITION if the file exists already.
  static absl::StatusOr<std::unique_ptr<Journal>> Create(const std::string& dir, const Digest& plan,
                                                         const std::string& name = kJournalName);

  // Reads the entries of an interrupted run; the last line wins when a module has several. A line
  // that is torn or damaged is skipped (its module is then done again), and a torn tail is cut off.
  // NOT_FOUND without a journal, FAILED_PRECONDITION when it is of another plan, another version,
  // or locked.
  static absl::StatusOr<std::unique_ptr<Journal>> Reopen(const std::string& dir, const Digest& plan,
                                                         std::vector<JournalEntry>* entries,
                                                         const std::string& name = kJournalName);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Returns after the line is on disk. RESOURCE_EXHAUSTED on a full disk.
  absl::Status Append(const JournalEntry& entry);

  // Deletes the file; the lock goes with the object.
  absl::Status Remove();

 private:
  Journal(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  absl::Status Lock();
  absl::Status Start(const std::string& dir, const Digest& plan);
  absl::Status CheckHead(absl::string_view line, const Digest& plan) const;
  absl::Status Load(const std::string& dir, const Digest& plan, std::vector<JournalEntry>* entries);
  absl::Status WriteLine(absl::string_view line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  const int fd_;
  const std::string path_;
  uint64_t size_ ABSL_GUARDED_BY(mutex_) = 0;  // bytes of whole lines
};

}  // namespace quantd
