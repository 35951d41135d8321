#include "server/rpc/unary_call.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/rpc/status.h"
#include "server/rpc/stream_reactor.h"
#include "server/session/guarded.h"

namespace quantd {
namespace {

// Among jobs and uploads of no special priority, first come first served: a flood of small calls
// must not hold them up.
constexpr int kPriority = 0;

// As of streams (Session::Gone).
absl::Status Gone(const CancelToken& cancel) {
  return absl::IsDeadlineExceeded(cancel.Check())
             ? absl::DeadlineExceededError("the call's deadline passed")
             : absl::CancelledError("the client went away");
}

}  // namespace

UnaryCall::UnaryCall(grpc::CallbackServerContext* context, const char* what, const SubmitFn& submit,
                     Answer answer)
    : deadline_(DeadlineOf(*context)) {
  QUANTD_TSAN_RELEASE(this);
  // While nobody has taken it, the call is there.
  submit(kPriority, [this, work = work_, what, answer = std::move(answer)] {
    if (work->taken.exchange(true)) return;
    QUANTD_TSAN_ACQUIRE(this);
    Run(what, answer);
  });
}

void UnaryCall::Run(const char* what, const Answer& answer) {
  const CancelToken& cancel = work_->cancel;
  const absl::Status status = Guarded<absl::Status>(what, [&] { return answer(cancel); });
  End(cancel.cancelled() ? Gone(cancel) : status);
}

void UnaryCall::OnCancel() {
  QUANTD_TSAN_ACQUIRE(this);
  work_->cancel.Cancel(absl::Now() >= deadline_ ? absl::StatusCode::kDeadlineExceeded
                                                : absl::StatusCode::kCancelled);
  if (!work_->taken.exchange(true)) End(Gone(work_->cancel));
}

void UnaryCall::OnDone() {
  QUANTD_TSAN_ACQUIRE(this);
  delete this;
}

// The call may be gone when Finish returns.
void UnaryCall::End(const absl::Status& status) {
  QUANTD_TSAN_RELEASE(this);
  Finish(ToGrpcStatus(status));
}

}  // namespace quantd
