// One bidirectional call: moves frames between gRPC and a session, and nothing else.
//
// A reaction may run beside another one and must never block, because two blocked reactions stop a
// whole 2-core server. So each does one of: hand a message to the session, fetch one, say that the
// peer left. The session decides when the call ends; it calls Finish exactly once and nothing after
// it, and gRPC then calls OnDone, where the reactor goes. The session may live on (a kernel that
// still winds down).
#pragma once

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/wire/codec.h"
#include "server/rpc/status.h"
#include "server/rpc/trace_context.h"
#include "server/session/registry.h"

// gRPC's own synchronisation is invisible to ThreadSanitizer when the library is not instrumented.
#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#define QUANTD_TSAN_ACQUIRE(p) __tsan_acquire(p)
#define QUANTD_TSAN_RELEASE(p) __tsan_release(p)
#else
#define QUANTD_TSAN_ACQUIRE(p) static_cast<void>(p)
#define QUANTD_TSAN_RELEASE(p) static_cast<void>(p)
#endif

namespace quantd {

inline absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

template <typename Request, typename Response>
class StreamReactor final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  // `registry` outlives the call. The reactor owns itself until OnDone.
  StreamReactor(grpc::CallbackServerContext* context, SessionRegistry* registry)
      : context_(context) {
    CallInfo info;
    info.peer = context->peer();
    info.trace_parent = AcceptTraceParent(context);
    info.deadline = DeadlineOf(*context);
    SessionCallbacks callbacks;
    callbacks.resume_reads = [this] { Read(); };
    callbacks.response_ready = [this] { Pump(); };
    callbacks.abort = [this] { context_->TryCancel(); };
    callbacks.finish = [this](absl::Status status, std::optional<int64_t> pushback_ms) {
      End(status, pushback_ms);
    };
    // Before the first frame the session can only finish or abort, neither of which needs session_.
    session_ = registry->Create(std::move(info), std::move(callbacks));
    Read();
  }

  void OnReadDone(bool ok) override {
    QUANTD_TSAN_ACQUIRE(this);
    if (!ok) {
      context_->IsCancelled() ? session_->OnCancel() : session_->OnHalfClose();
      return;
    }
    bool more = false;
    try {
      more = session_->OnFrame(wire::TakeFrame(&request_));
    } catch (const std::bad_alloc&) {
      OutOfMemory();
    }
    if (more) Read();
  }

  void OnWriteDone(bool ok) override {
    QUANTD_TSAN_ACQUIRE(this);
    session_->OnWriteDone(ok);
    if (ok) Pump();
  }

  void OnCancel() override {
    QUANTD_TSAN_ACQUIRE(this);
    session_->OnCancel();
  }

  void OnDone() override {
    QUANTD_TSAN_ACQUIRE(this);
    delete this;
  }

 private:
  ~StreamReactor() override = default;

  void Read() {
    QUANTD_TSAN_RELEASE(this);
    this->StartRead(&request_);
  }

  // The session gives a frame only while no write is outstanding, so two threads may try at once.
  // Once the write is started the reactor may be gone.
  void Pump() {
    try {
      std::optional<wire::ResponseFrame> frame = session_->NextResponse();
      if (!frame.has_value()) return;
      wire::PutFrame(*std::move(frame), &response_);
    } catch (const std::bad_alloc&) {
      OutOfMemory();
      // The frame is lost and its write slot still taken: hand it back.
      session_->OnWriteDone(false);
      return;
    }
    QUANTD_TSAN_RELEASE(this);
    this->StartWrite(&response_);
  }

  void OutOfMemory() {
    session_->Stop(absl::ResourceExhaustedError("out of memory while moving a message"),
                   std::nullopt);
  }

  void End(const absl::Status& status, std::optional<int64_t> pushback_ms) {
    if (pushback_ms.has_value()) {
      context_->AddTrailingMetadata(kPushbackKey, std::to_string(*pushback_ms));
    }
    QUANTD_TSAN_RELEASE(this);
    this->Finish(ToGrpcStatus(status));
  }

  grpc::CallbackServerContext* const context_;
  std::shared_ptr<Session> session_;
  Request request_;
  Response response_;
};

}  // namespace quantd
