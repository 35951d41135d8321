// The owner of a stream, as a test sees it: what the session said, and a reader that obeys the
// test.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/wire/frames.h"
#include "server/session/registry.h"
#include "server/session/session.h"

namespace quantd::testing {

// Frames as a client sends them.
QuantizeJob HeaderFrame(const std::string& id = "job-1", int priority = 0);
wire::ChunkFrame Chunk(uint64_t offset, uint64_t bytes, uint32_t tensor = 0);

// "A" accepted, "P" progress, "T" tensor, "c" chunk, "R" report, "M" measured candidate, "F" final,
// "S" state.
char LetterOf(const wire::ResponseFrame& frame);
std::string LettersOf(const std::vector<wire::ResponseFrame>& frames);

// Thread-safe. The reader takes what is ready at once and acknowledges it, unless told to stall.
class FakeStream : public std::enable_shared_from_this<FakeStream> {
 public:
  struct Finished {
    absl::Status status;
    std::optional<int64_t> pushback_ms;
  };
  enum class Reader { kEager, kStalls };

  static std::shared_ptr<FakeStream> Open(SessionRegistry* registry, CallInfo info = {},
                                          Reader reader = Reader::kEager);

  const std::shared_ptr<Session>& session() const { return session_; }

  // A stalled reader takes one frame (it then hangs in the write) / acknowledges it.
  bool Take();
  void Acknowledge(bool ok = true);
  void SetReader(Reader reader);

  std::vector<wire::ResponseFrame> TakeFrames();  // read so far, given away
  std::vector<Finished> finished() const { return Read(finished_); }
  int resumes() const { return Read(resumes_); }
  int ready() const { return Read(ready_); }
  int aborts() const { return Read(aborts_); }
  // Two callbacks ran at once, or one after Finish.
  bool broken() const { return Read(broken_); }
  // Lets go of the session, as a reactor does in its last reaction.
  void Detach() { session_.reset(); }

 private:
  template <typename T>
  T Read(const T& value) const {
    absl::MutexLock lock(&mutex_);
    return value;
  }
  void Enter();
  void Leave();
  void OnReady();

  std::shared_ptr<Session> session_;
  mutable absl::Mutex mutex_;
  Reader reader_ ABSL_GUARDED_BY(mutex_) = Reader::kEager;
  bool inside_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ = false;
  std::vector<wire::ResponseFrame> frames_;
  std::vector<Finished> finished_;
  int resumes_ = 0;
  int ready_ = 0;
  int aborts_ = 0;
};

}  // namespace quantd::testing
