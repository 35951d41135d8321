// Inputs of the stream and what is said to its owner.
#include "server/session/session.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

absl::string_view FrameName(const wire::RequestFrame& frame) {
  if (std::holds_alternative<wire::ChunkFrame>(frame)) return "a chunk";
  if (std::holds_alternative<wire::EndFrame>(frame)) return "End";
  return "a header";
}

// "a.weight", "a.weight + 2": what a reader of pages knows a job by.
std::string WeightNames(const JobHeader& header) {
  std::vector<absl::string_view> names;
  if (const auto* dequantize = std::get_if<DequantizeJob>(&header)) {
    for (const auto& weight : dequantize->weights) names.push_back(weight.name);
  } else {
    const auto& tensors = std::holds_alternative<QuantizeJob>(header)
                              ? std::get<QuantizeJob>(header).tensors
                              : std::get<MeasureJob>(header).tensors;
    for (const TensorDecl& tensor : tensors) {
      if (tensor.role == Role::kWeight) names.push_back(tensor.name);
    }
  }
  if (names.empty()) return "";
  return names.size() == 1 ? std::string(names[0])
                           : absl::StrCat(names[0], " + ", names.size() - 1);
}

}  // namespace

absl::string_view SessionStateName(SessionState state) {
  switch (state) {
    case SessionState::kHeader:
      return "header";
    case SessionState::kAdmitting:
      return "admitting";
    case SessionState::kQueued:
      return "queued";
    case SessionState::kUploading:
      return "uploading";
    case SessionState::kRunning:
      return "running";
    case SessionState::kSending:
      return "sending";
    case SessionState::kEnded:
      return "ended";
  }
  return "unknown";
}

std::shared_ptr<Session> Session::Create(const SessionDeps* deps, const SessionOptions& options,
                                         CallInfo info, SessionCallbacks callbacks,
                                         std::function<void(Session*)> on_closed) {
  return std::shared_ptr<Session>(
      new Session(deps, options, std::move(info), std::move(callbacks), std::move(on_closed)));
}

Session::Session(const SessionDeps* deps, const SessionOptions& options, CallInfo info,
                 SessionCallbacks callbacks, std::function<void(Session*)> on_closed)
    : deps_(deps),
      options_(options),
      info_(std::move(info)),
      created_(deps->clock->Now()),
      deadline_(std::min(info_.deadline, created_ + options.max_call)),
      states_(options.chunk_bytes),
      callbacks_(std::move(callbacks)),
      on_closed_(std::move(on_closed)) {}

Session::~Session() = default;

SessionState Session::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

bool Session::OnFrame(absl::StatusOr<wire::RequestFrame> frame) {
  Effects fx;
  bool read_on = false;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return false;
    const absl::Time now = deps_->clock->Now();
    absl::Status status = frame.ok() ? CheckGrammar(*frame) : frame.status();
    if (!status.ok()) {
      Refuse(std::move(status), &fx);
    } else if (auto* chunk = std::get_if<wire::ChunkFrame>(&*frame)) {
      TakeChunk(std::move(*chunk), now);
    } else if (auto* quantize = std::get_if<QuantizeJob>(&*frame)) {
      TakeHeader(std::move(*quantize), now, &fx);
    } else if (auto* measure = std::get_if<MeasureJob>(&*frame)) {
      TakeHeader(std::move(*measure), now, &fx);
    } else if (auto* dequantize = std::get_if<DequantizeJob>(&*frame)) {
      TakeHeader(std::move(*dequantize), now, &fx);
    } else {
      grammar_ = Grammar::kEnd;
    }
    PostIngest(&fx);
    reads_paused_ = inbox_cost_ >= options_.inbox_bytes;
    read_on = !reads_paused_ && state_ != SessionState::kEnded;
  }
  Apply(std::move(fx));
  return read_on;
}

void Session::OnHalfClose() {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded || grammar_ == Grammar::kEnd) return;
    Refuse(
        absl::InvalidArgumentError(grammar_ == Grammar::kHeader ? "the stream ended before a header"
                                                                : "the stream ended before End"),
        &fx);
  }
  Apply(std::move(fx));
}

void Session::OnCancel() {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return;
    End(Gone(deps_->clock->Now()), std::nullopt, &fx);
  }
  Apply(std::move(fx));
}

void Session::Stop(absl::Status status, std::optional<int64_t> pushback_ms) {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return;
    End(std::move(status), pushback_ms, &fx);
  }
  Apply(std::move(fx));
}

std::optional<wire::ResponseFrame> Session::NextResponse() {
  Effects fx;
  std::optional<wire::ResponseFrame> frame;
  std::string spent;  // freed without the lock
  {
    absl::MutexLock lock(&mutex_);
    said_ready_ = false;
    if (writing_ || state_ == SessionState::kEnded) return std::nullopt;
    if (!outbox_.empty()) {
      frame = std::move(outbox_.front());
      outbox_.pop_front();
      outbox_cost_ -= kFrameCost;
      if (const auto* chunk = std::get_if<wire::ChunkFrame>(&*frame)) {
        outbox_cost_ -= chunk->data.size();
        bytes_out_ += chunk->data.size();
      }
      writing_final_ = std::holds_alternative<wire::FinalFrame>(*frame);
    } else if (progress_) {
      frame = *std::exchange(progress_, std::nullopt);
    } else if (std::optional<wire::JobStateFrame> piece = states_.Next(&spent)) {
      bytes_out_ += piece->data.size();
      state_midway_.store(states_.midway(), std::memory_order_relaxed);
      frame = *std::move(piece);
    } else {
      return std::nullopt;
    }
    writing_ = true;
    write_since_ = deps_->clock->Now();
    PostIngest(&fx);
  }
  Apply(std::move(fx));
  return frame;
}

void Session::OnWriteDone(bool ok) {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (!writing_) return;
    writing_ = false;
    if (state_ != SessionState::kEnded) {
      if (!ok) {
        End(Gone(deps_->clock->Now()), std::nullopt, &fx);
      } else if (writing_final_) {
        End(absl::OkStatus(), std::nullopt, &fx);
      }
    }
  }
  Apply(std::move(fx));
}

absl::Status Session::CheckGrammar(const wire::RequestFrame& frame) const {
  const bool header = !std::holds_alternative<wire::ChunkFrame>(frame) &&
                      !std::holds_alternative<wire::EndFrame>(frame);
  switch (grammar_) {
    case Grammar::kHeader:
      if (header) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat("the first frame must be a header, not ", FrameName(frame)));
    case Grammar::kChunks:
      if (!header) return absl::OkStatus();
      return absl::InvalidArgumentError("a second header: one stream carries one job");
    case Grammar::kEnd:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("nothing may follow End, got ", FrameName(frame)));
}

// The caller broke the stream's rules. Without a header there is no job to report on: the refusal
// is all that is counted.
void Session::Refuse(absl::Status status, Effects* fx) {
  if (state_ == SessionState::kHeader) fx->reject_method = "";
  End(std::move(status), std::nullopt, fx);
}

absl::Status Session::Gone(absl::Time now) const {
  if (now >= deadline_) return absl::DeadlineExceededError("the call's deadline passed");
  return absl::CancelledError("the client went away");
}

void Session::TakeHeader(JobHeader header, absl::Time now, Effects* fx) {
  std::tie(job_id_, layout_, priority_) = std::visit(
      [](const auto& job) { return std::tuple(job.id, job.layout, job.priority); }, header);
  weight_names_ = WeightNames(header);
  if (const auto* quantize = std::get_if<QuantizeJob>(&header)) {
    rpc_ = "Quantize";
    method_ = quantize->spec.method;
    state_interval_ = absl::Seconds(quantize->checkpoint_seconds);
    resumed_ = std::any_of(quantize->tensors.begin(), quantize->tensors.end(),
                           [](const TensorDecl& t) { return t.role == Role::kCheckpoint; });
  } else if (std::holds_alternative<MeasureJob>(header)) {
    rpc_ = "Measure";
    method_ = "measure";
  } else {
    rpc_ = "Dequantize";
    method_ = "dequantize";
    result_role_ = Role::kWeight;
  }
  has_header_ = true;
  header_ = std::move(header);
  header_at_ = now;
  grammar_ = Grammar::kChunks;
  state_ = SessionState::kAdmitting;
  PostIngest(fx);
}

void Session::TakeChunk(wire::ChunkFrame chunk, absl::Time now) {
  const uint64_t bytes = chunk.data.size();
  inbox_cost_ += bytes + kFrameCost;
  bytes_in_ += bytes;
  since_progress_ += bytes;
  if (since_progress_ >= options_.upload_progress_bytes) {
    since_progress_ = 0;
    upload_progress_ = now;
  }
  first_chunk_at_ = std::min(first_chunk_at_, now);
  last_chunk_at_ = now;
  inbox_.push_back(std::move(chunk));
}

void Session::Apply(Effects fx) {
  // The stream's owner may let go of the session inside a callback.
  const std::shared_ptr<Session> self = shared_from_this();
  if (fx.reject_method) deps_->events->OnReject(RejectReason::kInvalid, *fx.reject_method);
  if (fx.cancel_ticket) deps_->admission->Cancel(*fx.cancel_ticket);
  if (fx.post_ingest) deps_->ingest(fx.priority, [self] { self->RunIngest(); });
  if (fx.submit_compute) deps_->compute(fx.priority, [self] { self->RunCompute(); });
  const bool released = fx.released;
  { const Effects gone = std::move(fx); }
  if (released) {
    absl::MutexLock lock(&mutex_);
    released_ = true;
  }
  Notify();
}

Session::Say Session::NextToSay() {
  const bool ended = state_ == SessionState::kEnded;
  if (finished_) {
    if (!released_ || closed_) return Say::kNothing;
    closed_ = true;
    return Say::kClosed;
  }
  if (ended && !writing_) {
    finished_ = true;
    return Say::kFinish;
  }
  if (say_abort_) {
    say_abort_ = false;
    return Say::kAbort;
  }
  if (ended) return Say::kNothing;
  if (say_resume_) {
    say_resume_ = false;
    return Say::kResume;
  }
  if (!writing_ && !said_ready_ && (!outbox_.empty() || progress_ || !states_.empty())) {
    said_ready_ = true;
    return Say::kReady;
  }
  return Say::kNothing;
}

// One thread speaks at a time; others leave what they have to say to it. So calls never overlap and
// none comes after Finish.
void Session::Notify() {
  {
    absl::MutexLock lock(&mutex_);
    if (notifying_) return;
    notifying_ = true;
  }
  while (true) {
    Say say = Say::kNothing;
    {
      absl::MutexLock lock(&mutex_);
      say = NextToSay();
      if (say == Say::kNothing) {
        notifying_ = false;
        return;
      }
    }
    switch (say) {
      case Say::kNothing:
        break;
      case Say::kResume:
        callbacks_.resume_reads();
        break;
      case Say::kReady:
        callbacks_.response_ready();
        break;
      case Say::kAbort:
        callbacks_.abort();
        break;
      case Say::kFinish:
        SayFinish();
        break;
      case Say::kClosed:
        if (on_closed_) std::exchange(on_closed_, nullptr)(this);
        return;  // nothing is left to say, ever
    }
  }
}

void Session::SayFinish() {
  absl::Status status;
  std::optional<int64_t> pushback_ms;
  std::optional<JobEvent> event;
  {
    absl::MutexLock lock(&mutex_);
    status = status_;
    pushback_ms = pushback_ms_;
    if (has_header_) event = MakeEvent();
  }
  // First the event: who has seen the call end finds it in log and metrics.
  if (event) deps_->events->OnJobDone(*event);
  const SessionCallbacks last = std::exchange(callbacks_, {});
  last.finish(std::move(status), pushback_ms);
}

}  // namespace quantd
