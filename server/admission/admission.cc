#include "server/admission/admission.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

constexpr double kLeastPushbackSeconds = 0.25;
constexpr double kMostPushbackSeconds = 60;
// Weight of the newest job in the moving average of how long jobs hold their memory.
constexpr double kNewest = 0.2;

uint64_t QueueBytes(const Admission::Options& options) {
  if (options.max_queued_bytes != 0) return options.max_queued_bytes;
  return options.budget_bytes > std::numeric_limits<uint64_t>::max() / 4
             ? std::numeric_limits<uint64_t>::max()
             : options.budget_bytes * 4;
}

Admission::Options WithDefaults(Admission::Options options) {
  options.max_queued_bytes = QueueBytes(options);
  return options;
}

}  // namespace

Admission::Grant& Admission::Grant::operator=(Grant&& o) noexcept {
  if (this != &o) {
    Release();
    admission_ = std::exchange(o.admission_, nullptr);
    reservation_ = std::move(o.reservation_);
    since_ = o.since_;
  }
  return *this;
}

void Admission::Grant::Release() {
  Admission* admission = std::exchange(admission_, nullptr);
  if (admission != nullptr) admission->GiveBack(std::move(reservation_), since_);
}

Admission::Admission(const Options& options)
    : options_(WithDefaults(options)), ledger_(options.budget_bytes) {
  SendGauges();
}

Admission::~Admission() = default;

Admission::Decision Admission::Submit(const Request& request, Callback later) {
  Decision decision = Decide(request, &later);
  if (const auto* rejection = std::get_if<Rejection>(&decision)) {
    options_.events->OnReject(rejection->reason, request.method);
  } else {
    SendGauges();
  }
  return decision;
}

Admission::Decision Admission::Decide(const Request& request, Callback* later) {
  absl::MutexLock lock(&mutex_);
  if (draining_) return Draining();
  if (!EverFits(request.peak_bytes)) {
    return Rejection{
        RejectReason::kNeverFits,
        absl::ResourceExhaustedError(absl::StrCat("predicted peak: ", request.peak_bytes,
                                                  " bytes are more than this server's budget of ",
                                                  ledger_.budget(), " bytes")),
        -1};
  }
  // Only who would stand first may pass the queue by.
  if (queue_.empty() || request.priority > queue_.front().request.priority) {
    ByteLedger::Reservation reservation = ledger_.TryReserve(request.peak_bytes);
    if (reservation.held()) {
      if (held_seconds_ == 0) held_seconds_ = request.seconds;
      return Grant(this, std::move(reservation), options_.clock->Now());
    }
  }
  if (std::optional<Rejection> full = RejectFull(request)) return *std::move(full);
  auto place = queue_.begin();
  int64_t position = 1;
  while (place != queue_.end() && place->request.priority >= request.priority) {
    ++place;
    ++position;
  }
  const uint64_t ticket = next_ticket_++;
  queue_.insert(place, {ticket, request, std::move(*later), options_.clock->Now()});
  waiting_bytes_ += request.peak_bytes;
  return Queued{ticket, position};
}

bool Admission::Cancel(uint64_t ticket) {
  Queue
      cancelled;  // its callback may hold the last reference to something: drop it outside the lock
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = std::find_if(queue_.begin(), queue_.end(),
                                 [ticket](const Waiting& w) { return w.ticket == ticket; });
    if (it == queue_.end()) return false;
    waiting_bytes_ -= it->request.peak_bytes;
    cancelled.splice(cancelled.begin(), queue_, it);
    Pump(&answers);
  }
  Deliver(std::move(answers));
  SendGauges();
  return true;
}

void Admission::Drain() {
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    for (Waiting& waiting : queue_) {
      answers.push_back({std::move(waiting.later), Draining(), waiting.request.method});
    }
    queue_.clear();
    waiting_bytes_ = 0;
  }
  SendGauges();
  Deliver(std::move(answers));
}

bool Admission::draining() const {
  absl::MutexLock lock(&mutex_);
  return draining_;
}

void Admission::Tick() {
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = options_.clock->Now();
    for (auto it = queue_.begin(); it != queue_.end();) {
      const auto waiting = it++;
      const absl::Duration waited = now - waiting->since;
      if (waited <= options_.max_queue_wait) continue;
      Rejection rejection{
          RejectReason::kQueueTimeout,
          absl::ResourceExhaustedError(absl::StrCat(
              "waited ", absl::FormatDuration(absl::Trunc(waited, absl::Milliseconds(1))), " for ",
              waiting->request.peak_bytes, " bytes of memory; the limit is ",
              absl::FormatDuration(options_.max_queue_wait))),
          PushbackMs()};
      answers.push_back({std::move(waiting->later), std::move(rejection), waiting->request.method});
      Remove(waiting);
    }
    if (answers.empty()) return;
    Pump(&answers);  // what blocked the others may be gone
  }
  SendGauges();
  Deliver(std::move(answers));
}

int64_t Admission::waiting_jobs() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(queue_.size());
}

uint64_t Admission::waiting_bytes() const {
  absl::MutexLock lock(&mutex_);
  return waiting_bytes_;
}

void Admission::Pump(Answers* answers) {
  while (!queue_.empty()) {
    const auto head = queue_.begin();
    ByteLedger::Reservation reservation = ledger_.TryReserve(head->request.peak_bytes);
    if (!reservation.held()) return;
    answers->push_back({std::move(head->later),
                        Grant(this, std::move(reservation), options_.clock->Now()),
                        head->request.method});
    Remove(head);
  }
}

void Admission::Remove(Queue::iterator waiting) {
  waiting_bytes_ -= waiting->request.peak_bytes;
  queue_.erase(waiting);
}

void Admission::GiveBack(ByteLedger::Reservation reservation, absl::Time since) {
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    reservation.Release();
    const double held = std::max(0.0, absl::ToDoubleSeconds(options_.clock->Now() - since));
    held_seconds_ = held_seconds_ == 0 ? held : (1 - kNewest) * held_seconds_ + kNewest * held;
    Pump(&answers);
  }
  SendGauges();
  Deliver(std::move(answers));
}

std::optional<Admission::Rejection> Admission::RejectFull(const Request& request) const {
  const int64_t jobs = static_cast<int64_t>(queue_.size());
  if (jobs >= options_.max_queued_jobs) {
    return Rejection{
        RejectReason::kQueueJobs,
        absl::ResourceExhaustedError(absl::StrCat(
            "the queue is full: ", jobs, " jobs wait, the limit is ", options_.max_queued_jobs)),
        PushbackMs()};
  }
  // A job alone in the queue may always wait: its bytes fit the budget.
  const uint64_t limit = options_.max_queued_bytes;
  if (jobs > 0 && (waiting_bytes_ >= limit || request.peak_bytes > limit - waiting_bytes_)) {
    return Rejection{RejectReason::kQueueBytes,
                     absl::ResourceExhaustedError(absl::StrCat(
                         "the queue is full: jobs of ", waiting_bytes_, " predicted bytes wait, ",
                         request.peak_bytes, " more would pass the limit of ", limit)),
                     PushbackMs()};
  }
  return std::nullopt;
}

// The waiting jobs fill the budget waiting / budget times over, and each filling lasts about as
// long as a recent job held its memory. Half of that is when there is room again with some
// certainty, and still early enough that the queue does not run dry.
int64_t Admission::PushbackMs() const {
  const double budget = std::max<double>(1, ledger_.budget());
  const double rounds = 1 + static_cast<double>(waiting_bytes_) / budget;
  const double seconds =
      std::clamp(held_seconds_ * rounds / 2, kLeastPushbackSeconds, kMostPushbackSeconds);
  return static_cast<int64_t>(seconds * 1000);
}

Admission::Rejection Admission::Draining() const {
  return {RejectReason::kDraining, absl::UnavailableError("the server is going down"), 0};
}

void Admission::Deliver(Answers answers) const {
  for (Answer& answer : answers) {
    if (const auto* rejection = std::get_if<Rejection>(&answer.what)) {
      options_.events->OnReject(rejection->reason, answer.method);
    }
    answer.later(std::move(answer.what));
  }
}

void Admission::SendGauges() {
  absl::MutexLock gauge_lock(&gauge_mutex_);
  int64_t jobs = 0;
  uint64_t bytes = 0;
  {
    absl::MutexLock lock(&mutex_);
    jobs = static_cast<int64_t>(queue_.size());
    bytes = waiting_bytes_;
  }
  options_.events->OnQueue(jobs, bytes);
  options_.events->OnBudget(ledger_.reserved(), ledger_.budget());
}

}  // namespace quantd
