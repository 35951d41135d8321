// One unary call that is answered later, from a pool, unless the caller is gone first.
//
// No reaction blocks: a cancel sets the token that the answer polls, and ends the call at once
// while the answer still waits for a thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/session/options.h"
#include "workers/core/cancel.h"

namespace quantd {

class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // Fills in the response, from some thread of the pool; request and response live until it
  // returns. Set once the client went away or the deadline passed, the token ends it early.
  using Answer = std::function<absl::Status(const CancelToken& cancel)>;

  // `what` names the step in messages. The call owns itself until OnDone.
  UnaryCall(grpc::CallbackServerContext* context, const char* what, const SubmitFn& submit,
            Answer answer);

  void OnCancel() override;
  void OnDone() override;

 private:
  // Outlives the call where that ends before a thread has come to its answer.
  struct Work {
    CancelToken cancel;
    std::atomic<bool> taken{false};  // by who ends the call: the answer, or a cancel before it
  };

  ~UnaryCall() override = default;
  void Run(const char* what, const Answer& answer);
  void End(const absl::Status& status);

  const absl::Time deadline_;
  const std::shared_ptr<Work> work_ = std::make_shared<Work>();
};

}  // namespace quantd
