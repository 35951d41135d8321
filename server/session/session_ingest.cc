// The ingest strand: header -> job -> admission, chunks -> the job's memory, results -> outbox.
#include <algorithm>
#include <utility>

#include "server/session/guarded.h"
#include "server/session/session.h"
#include "workers/core/status_macros.h"

namespace quantd {

bool Session::IngestHasWork() const {
  switch (state_) {
    case SessionState::kAdmitting:
      return header_.has_value();
    case SessionState::kUploading:
      return !begun_ || !inbox_.empty() || grammar_ == Grammar::kEnd;
    case SessionState::kSending:
      return !all_produced_ && outbox_cost_ <= options_.outbox_bytes / 2;
    default:
      return false;
  }
}

void Session::PostIngest(Effects* fx) {
  if (ingest_posted_ || !IngestHasWork()) return;
  ingest_posted_ = true;
  fx->post_ingest = true;
  fx->priority = priority_;
}

void Session::RunIngest() {
  IngestWork work;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return;
    ++working_;
    work = TakeIngestWork();
  }
  const absl::Status status = Guarded<absl::Status>("taking in the job", [&] {
    if (work.header) return CreateAndSubmit(*std::move(work.header));
    return work.fill ? Fill(&work) : Upload(&work);
  });
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    --working_;
    ingest_posted_ = false;
    if (!status.ok()) End(status, std::nullopt, &fx);
    PostIngest(&fx);
    ReleaseIfIdle(&fx);
  }
  Apply(std::move(fx));
}

Session::IngestWork Session::TakeIngestWork() {
  IngestWork work;
  work.job = job_.get();
  work.assembler = assembler_.get();
  if (state_ == SessionState::kAdmitting) {
    work.header = std::exchange(header_, std::nullopt);
  } else if (state_ == SessionState::kSending) {
    work.fill = true;
    work.results = &*results_;
    work.room = options_.outbox_bytes - std::min(outbox_cost_, options_.outbox_bytes);
  } else {
    work.begin = !std::exchange(begun_, true);
    work.batch = std::exchange(inbox_, {});
    work.batch_cost = inbox_cost_;
    work.finish = grammar_ == Grammar::kEnd;
  }
  return work;
}

absl::Status Session::CreateAndSubmit(JobHeader header) {
  absl::StatusOr<std::unique_ptr<Job>> job = deps_->create_job(std::move(header));
  if (!job.ok()) {
    Effects fx;
    {
      absl::MutexLock lock(&mutex_);
      if (state_ == SessionState::kEnded) return absl::OkStatus();
      fx.reject_method = method_;
      refused_ = true;
      End(job.status(), std::nullopt, &fx);
    }
    Apply(std::move(fx));
    return absl::OkStatus();
  }
  Admission::Request request;
  wire::AcceptedFrame accepted;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return absl::OkStatus();
    job_ = *std::move(job);
    assembler_ = std::make_unique<wire::Assembler>(&job_->inputs(), job_.get());
    method_ = job_->method();
    cost_ = job_->cost();
    weight_elements_ = job_->weight_elements();
    accepted.job_id = job_id_;
    accepted.predicted_peak_bytes = cost_.peak_bytes;
    accepted.predicted_seconds = cost_.seconds;
    accepted.spec = job_->resolved_spec();
    request = {cost_.peak_bytes, cost_.seconds, priority_, method_};
  }
  OnDecision(
      deps_->admission->Submit(
          request, [self = shared_from_this()](auto answer) { self->OnGrant(std::move(answer)); }),
      std::move(accepted));
  return absl::OkStatus();
}

void Session::OnDecision(Admission::Decision decision, wire::AcceptedFrame accepted) {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    auto* queued = std::get_if<Admission::Queued>(&decision);
    if (state_ == SessionState::kEnded) {
      if (queued != nullptr) fx.cancel_ticket = queued->ticket;
    } else if (auto* rejection = std::get_if<Admission::Rejection>(&decision)) {
      refused_ = true;
      End(rejection->status, rejection->pushback_ms, &fx);
    } else {
      const absl::Time now = deps_->clock->Now();
      if (auto* grant = std::get_if<Admission::Grant>(&decision)) {
        TakeGrant(std::move(*grant), now);
      } else if (state_ == SessionState::kAdmitting) {  // else OnGrant was faster
        state_ = SessionState::kQueued;
        ticket_ = queued->ticket;
      }
      if (queued != nullptr) accepted.queue_position = static_cast<uint32_t>(queued->position);
      outbox_.push_back(std::move(accepted));
      outbox_cost_ += kFrameCost;
      accepted_ = true;
      last_progress_at_ = now;
    }
  }
  Apply(std::move(fx));
}

void Session::OnGrant(std::variant<Admission::Grant, Admission::Rejection> answer) {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) {
      // `answer` gives the memory back when it goes out of scope, after the lock.
    } else if (auto* rejection = std::get_if<Admission::Rejection>(&answer)) {
      ticket_.reset();
      refused_ = true;
      End(rejection->status, rejection->pushback_ms, &fx);
    } else {
      TakeGrant(std::move(std::get<Admission::Grant>(answer)), deps_->clock->Now());
      PostIngest(&fx);
    }
  }
  Apply(std::move(fx));
}

void Session::TakeGrant(Admission::Grant grant, absl::Time now) {
  grant_ = std::move(grant);
  ticket_.reset();
  state_ = SessionState::kUploading;
  admitted_at_ = now;
  upload_progress_ = now;
  since_progress_ = 0;
}

absl::Status Session::Upload(IngestWork* work) {
  if (work->begin) QUANTD_RETURN_IF_ERROR(work->job->Begin(Context()));
  for (wire::ChunkFrame& chunk : work->batch) {
    if (cancel_.cancelled()) return absl::OkStatus();
    QUANTD_RETURN_IF_ERROR(work->assembler->Add(chunk));
    std::string().swap(chunk.data);
  }
  if (work->finish) QUANTD_RETURN_IF_ERROR(work->assembler->Finish());

  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return absl::OkStatus();
    const absl::Time now = deps_->clock->Now();
    inbox_cost_ -= work->batch_cost;
    uploaded_ = work->assembler->received_bytes();
    if (reads_paused_ && inbox_cost_ <= options_.inbox_bytes / 2) {
      reads_paused_ = false;
      say_resume_ = true;
      upload_progress_ = now;
      since_progress_ = 0;
    }
    if (work->finish) {
      state_ = SessionState::kRunning;
      submitted_at_ = now;
      fx.submit_compute = true;
      fx.priority = priority_;
    }
  }
  Apply(std::move(fx));
  return absl::OkStatus();
}

absl::Status Session::Fill(IngestWork* work) {
  std::deque<wire::ResponseFrame> frames;
  uint64_t cost = 0;
  bool all = false;
  while (cost < work->room && !cancel_.cancelled()) {
    std::optional<wire::ResponseFrame> frame = work->results->Next();
    if (!frame) {
      all = true;
      break;
    }
    cost += kFrameCost;
    if (const auto* chunk = std::get_if<wire::ChunkFrame>(&*frame)) cost += chunk->data.size();
    frames.push_back(*std::move(frame));
  }
  absl::MutexLock lock(&mutex_);
  if (state_ == SessionState::kEnded) return absl::OkStatus();
  std::move(frames.begin(), frames.end(), std::back_inserter(outbox_));
  outbox_cost_ += cost;
  all_produced_ = all;
  return absl::OkStatus();
}

}  // namespace quantd
