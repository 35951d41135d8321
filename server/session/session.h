// The job behind one stream: a state machine that knows no transport.
//
//   HEADER -> ADMITTING -> [QUEUED] -> UPLOADING -> RUNNING -> SENDING -> ENDED
//
// Every state may go to ENDED: by cancel, deadline, a broken rule of the stream, an error of the
// work or the server's stop. The call's status is fixed when that happens and Finish follows as
// soon as no write is in flight; memory and its reservation are given back when the work that is
// still running returns (it polls the cancel token).
//
// Nothing here blocks and no input does work of its own: headers, chunks and results are worked on
// in the ingest pool, one task at a time per session, and Job::Run in the compute pool. A client
// that does not read parks the job with a full outbox and no thread.
//
// Requests:  header, chunk*, end.
// Responses: accepted, (progress | piece of a state)*, then per weight (tensor, chunk*)*, report;
// then final.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/wire/assembler.h"
#include "proto/wire/frames.h"
#include "server/admission/admission.h"
#include "server/session/options.h"
#include "server/session/result_frames.h"
#include "server/session/state_outbox.h"
#include "workers/core/cancel.h"
#include "workers/core/live_job.h"
#include "workers/core/progress.h"
#include "workers/engine/engine.h"

namespace quantd {

enum class SessionState : uint8_t {
  kHeader,
  kAdmitting,
  kQueued,
  kUploading,
  kRunning,
  kSending,
  kEnded,
};

absl::string_view SessionStateName(SessionState state);  // "header", "admitting", ...

// Thread-safe. Inputs may come in any order and at once, also after the end, where they do nothing.
class Session : public std::enable_shared_from_this<Session>,
                private ProgressSink,
                private StateSink {
 public:
  // `deps` outlives the session. `on_closed` is called once, as the last thing a session does:
  // after Finish, and when all its memory is given back. It may be empty.
  static std::shared_ptr<Session> Create(const SessionDeps* deps, const SessionOptions& options,
                                         CallInfo info, SessionCallbacks callbacks,
                                         std::function<void(Session*)> on_closed = nullptr);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // A frame, or why the bytes were none. True: read the next one now. False: resume_reads will say
  // when, or never after the end.
  bool OnFrame(absl::StatusOr<wire::RequestFrame> frame);
  // The client sends no more. Without an End before it the call fails; when the transport knows
  // that the stream was cancelled, say OnCancel() instead.
  void OnHalfClose();
  // The client went away, or its deadline passed.
  void OnCancel();

  // The next response, or nothing now: response_ready will say when. After a frame nothing more is
  // given until OnWriteDone.
  std::optional<wire::ResponseFrame> NextResponse();
  void OnWriteDone(bool ok);

  // Timeouts and progress; call about every 250 ms.
  void Tick();

  // How the job stands; nothing before its header was understood and after its end.
  std::optional<LiveJob> Live();

  // Ends the job with this status (UNAVAILABLE at the end of a drain).
  void Stop(absl::Status status, std::optional<int64_t> pushback_ms);

  SessionState state() const;

 private:
  enum class Grammar : uint8_t { kHeader, kChunks, kEnd };
  // What a frame weighs in the inbox and the outbox beside its bytes, so that floods of tiny ones
  // are bounded too.
  static constexpr uint64_t kFrameCost = 64;

  // What a locked section decided, to be carried out after the lock is released. Members are
  // destroyed from the last to the first: memory is freed before its reservation is given back.
  struct Effects {
    Admission::Grant grant;
    std::unique_ptr<Job> job;
    std::unique_ptr<wire::Assembler> assembler;
    std::optional<ResultFrames> results;
    std::optional<JobHeader> header;
    std::deque<wire::ChunkFrame> inbox;
    std::deque<wire::ResponseFrame> outbox;
    std::vector<std::string> states;
    std::optional<uint64_t> cancel_ticket;
    std::optional<std::string> reject_method;  // tell that an invalid request was refused
    bool post_ingest = false;
    bool submit_compute = false;
    bool released = false;  // nothing of the job is left once these members are gone
    int priority = 0;
  };

  // One task of the ingest strand.
  struct IngestWork {
    std::optional<JobHeader> header;  // else
    bool fill = false;                // else an upload step:
    bool begin = false;
    std::deque<wire::ChunkFrame> batch;
    uint64_t batch_cost = 0;
    bool finish = false;
    Job* job = nullptr;
    wire::Assembler* assembler = nullptr;
    ResultFrames* results = nullptr;
    uint64_t room = 0;  // bytes of the outbox to fill
  };

  Session(const SessionDeps* deps, const SessionOptions& options, CallInfo info,
          SessionCallbacks callbacks, std::function<void(Session*)> on_closed);

  // ProgressSink, called by the job.
  void OnProgress(Phase phase, double fraction) override;
  void OnRound(int weight, int round, double relative_loss) override;
  // StateSink, called by the job.
  bool Due() override;
  void Save(std::string state) override;

  // Inputs.
  absl::Status CheckGrammar(const wire::RequestFrame& frame) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeHeader(JobHeader header, absl::Time now, Effects* fx)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeChunk(wire::ChunkFrame chunk, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Refuse(absl::Status status, Effects* fx) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Gone(absl::Time now) const;

  // The ingest strand: at most one task of a session is posted or runs.
  bool IngestHasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PostIngest(Effects* fx) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunIngest();
  IngestWork TakeIngestWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CreateAndSubmit(JobHeader header);
  // The answer to Submit; `accepted` is sent unless it was a rejection.
  void OnDecision(Admission::Decision decision, wire::AcceptedFrame accepted);
  void OnGrant(std::variant<Admission::Grant, Admission::Rejection> answer);
  void TakeGrant(Admission::Grant grant, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Upload(IngestWork* work);
  absl::Status Fill(IngestWork* work);

  // Compute.
  void RunCompute();
  void TakeResult(JobResult result, absl::Time now, Effects* fx)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RunContext Context();
  void ScheduleState(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The end.
  void End(absl::Status status, std::optional<int64_t> pushback_ms, Effects* fx)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleaseIfIdle(Effects* fx) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  JobEvent MakeEvent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Time.
  absl::Status CheckTimeouts(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MakeProgress(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  wire::ProgressFrame ProgressNow(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration Stalled(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  double SecondsLeft(double fraction, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Carries out what a locked section decided, then speaks to the stream's owner.
  void Apply(Effects fx) ABSL_LOCKS_EXCLUDED(mutex_);
  enum class Say : uint8_t { kNothing, kResume, kReady, kAbort, kFinish, kClosed };
  void Notify() ABSL_LOCKS_EXCLUDED(mutex_);
  Say NextToSay() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SayFinish() ABSL_LOCKS_EXCLUDED(mutex_);

  const SessionDeps* const deps_;
  const SessionOptions options_;
  const CallInfo info_;
  const absl::Time created_;
  const absl::Time deadline_;
  CancelToken cancel_;

  // Where Job::Run is: the phase above 32 bits of a float. Written by the job's threads, read by
  // Tick.
  std::atomic<uint64_t> job_progress_{0};
  // When the client wants the next state, in ns since 1970; and whether one is half sent, which
  // holds the next one back: so there are never more than two.
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> next_state_at_{kNever};
  std::atomic<bool> state_midway_{false};

  mutable absl::Mutex mutex_;
  SessionState state_ ABSL_GUARDED_BY(mutex_) = SessionState::kHeader;
  Grammar grammar_ ABSL_GUARDED_BY(mutex_) = Grammar::kHeader;

  // Facts of the header, kept for the event.
  std::string job_id_ ABSL_GUARDED_BY(mutex_);
  std::string layout_ ABSL_GUARDED_BY(mutex_);
  std::string weight_names_ ABSL_GUARDED_BY(mutex_);
  std::string method_ ABSL_GUARDED_BY(mutex_);
  std::string rpc_ ABSL_GUARDED_BY(mutex_) = "Quantize";
  Role result_role_ ABSL_GUARDED_BY(mutex_) = Role::kPacked;
  int priority_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration state_interval_ ABSL_GUARDED_BY(mutex_);  // zero: no states are wanted
  bool resumed_ ABSL_GUARDED_BY(mutex_) = false;     // it goes on from a state of an earlier call
  bool has_header_ ABSL_GUARDED_BY(mutex_) = false;  // the call counts as a job, also when refused
  Cost cost_ ABSL_GUARDED_BY(mutex_);
  uint64_t weight_elements_ ABSL_GUARDED_BY(mutex_) = 0;

  // What is worked on. While tasks run (working_ counts them: an upload step may still return while
  // the compute task it submitted has begun) they alone use the objects behind job_, assembler_ and
  // results_, which nobody takes away meanwhile. Ingest and compute never run at once: a state has
  // work for one of them.
  int working_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ingest_posted_ ABSL_GUARDED_BY(mutex_) = false;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;  // Job::Begin was called
  std::optional<JobHeader> header_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Job> job_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<wire::Assembler> assembler_ ABSL_GUARDED_BY(mutex_);
  Admission::Grant grant_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> ticket_ ABSL_GUARDED_BY(mutex_);

  // Upload.
  std::deque<wire::ChunkFrame> inbox_ ABSL_GUARDED_BY(mutex_);
  uint64_t inbox_cost_ ABSL_GUARDED_BY(mutex_) = 0;  // waiting and being worked on
  bool reads_paused_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t bytes_in_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t since_progress_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time upload_progress_ ABSL_GUARDED_BY(mutex_);
  absl::Time header_at_ ABSL_GUARDED_BY(mutex_);
  absl::Time admitted_at_ ABSL_GUARDED_BY(mutex_);
  absl::Time first_chunk_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  absl::Time last_chunk_at_ ABSL_GUARDED_BY(mutex_);
  absl::Time submitted_at_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Time> run_at_ ABSL_GUARDED_BY(mutex_);
  uint64_t uploaded_ ABSL_GUARDED_BY(mutex_) = 0;  // bytes in place

  // Download.
  std::optional<ResultFrames> results_ ABSL_GUARDED_BY(mutex_);
  std::deque<wire::ResponseFrame> outbox_ ABSL_GUARDED_BY(mutex_);
  uint64_t outbox_cost_ ABSL_GUARDED_BY(mutex_) = 0;
  StateOutbox states_ ABSL_GUARDED_BY(mutex_);
  bool accepted_ ABSL_GUARDED_BY(mutex_) = false;
  bool all_produced_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<wire::ProgressFrame> progress_ ABSL_GUARDED_BY(mutex_);
  wire::ProgressFrame last_progress_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_progress_at_ ABSL_GUARDED_BY(mutex_);
  std::optional<wire::ProgressFrame::Round> round_ ABSL_GUARDED_BY(mutex_);  // the last one
  // Where the solver stood when it was first seen solving: a job that is taken up again begins far
  // from zero.
  struct Pace {
    absl::Time since;
    double from = 0;
  };
  std::optional<Pace> pace_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_final_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time write_since_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_out_ ABSL_GUARDED_BY(mutex_) = 0;
  JobReport report_ ABSL_GUARDED_BY(mutex_);  // of a finished run

  // The end, and what is still to be said.
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool refused_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<int64_t> pushback_ms_ ABSL_GUARDED_BY(mutex_);
  SessionCallbacks callbacks_;  // used by the notifying thread alone
  std::function<void(Session*)> on_closed_;
  bool notifying_ ABSL_GUARDED_BY(mutex_) = false;
  bool say_resume_ ABSL_GUARDED_BY(mutex_) = false;
  bool said_ready_ ABSL_GUARDED_BY(mutex_) = false;  // and NextResponse was not called since
  bool say_abort_ ABSL_GUARDED_BY(mutex_) = false;
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quantd
