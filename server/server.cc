#include "server/server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server.h"
#include "proto/wire/frames.h"
#include "server/admission/admission.h"
#include "server/cpu_model.h"
#include "server/health_query.h"
#include "server/lifecycle/ticker.h"
#include "server/rpc/service.h"
#include "server/session/registry.h"
#include "server/tls.h"
#include "server/transport.h"
#include "workers/core/status_macros.h"
#include "workers/engine/engine.h"
#include "workers/linalg/blas.h"
#include "workers/pool/pool.h"

namespace quantd {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(250);
constexpr absl::Duration kWindDown = absl::Seconds(5);
constexpr absl::Duration kCertificateLook = absl::Seconds(30);
constexpr uint64_t kHealthTransportBytes = uint64_t{16} << 20;

Admission::Options AdmissionOptions(const QuantdServer::Config& config, const Clock* clock) {
  Admission::Options options;
  options.budget_bytes = ResolveBudget(config.options, config.memory_limit);
  options.max_queued_jobs = config.options.max_queued_jobs;
  options.max_queued_bytes = config.options.max_queued_bytes;
  options.max_queue_wait = config.options.queue_timeout;
  options.clock = clock;
  options.events = config.events;
  return options;
}

SessionOptions WithMaxCall(SessionOptions session, absl::Duration max_call) {
  session.max_call = max_call;
  return session;
}

JobFactory MakeJobFactory(int width) {
  return [width](JobHeader header) -> absl::StatusOr<std::unique_ptr<Job>> {
    return std::visit(
        [width](auto& job) { return Job::Create(std::move(job), JobLimits(), width); }, header);
  };
}

SubmitFn SubmitTo(Pool* pool) {
  return
      [pool](int priority, std::function<void()> work) { pool->Submit(priority, std::move(work)); };
}

class Assembly final : public QuantdServer {
 public:
  Assembly(Config config, int width)
      : config_(std::move(config)),
        width_(width),
        admission_(AdmissionOptions(config_, &clock_)),
        compute_({width, config_.events}),
        // Uploads must flow while kernels hold every compute thread; one stream keeps one of these
        // busy.
        ingest_({std::max(2, width / 2), nullptr}),
        sessions_(MakeSessionDeps(), WithMaxCall(config_.session, config_.options.max_job_time)),
        service_(MakeServiceDeps()) {}

  ~Assembly() override {
    RefuseNew();
    CancelRunning();
    if (server_ != nullptr) Shutdown(absl::ZeroDuration());
    sessions_.WaitUntilEmpty(absl::InfiniteFuture());
  }

  absl::Status Listen() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    ApplyTransport(config_.options, &builder);
    ports_.resize(config_.options.listen.size(), 0);
    if (!config_.options.listen.empty()) {
      QUANTD_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(config_.options));
      for (size_t i = 0; i < ports_.size(); ++i) {
        builder.AddListeningPort(config_.options.listen[i], credentials, &ports_[i]);
      }
    }
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ",
                                                 absl::StrJoin(config_.options.listen, ", "),
                                                 " (address in use or not ours)"));
    }
    for (size_t i = 0; i < ports_.size(); ++i) {
      if (config_.options.listen[i].rfind("unix", 0) == 0) ports_[i] = 0;
    }
    QUANTD_RETURN_IF_ERROR(ListenForHealth());
    LookAtCertificate();
    ticker_ = std::make_unique<Ticker>(kTick, [this] {
      sessions_.Tick();
      LookAtCertificate();
    });
    SetServing(true);
    return absl::OkStatus();
  }

  const std::vector<int>& ports() const override { return ports_; }
  int health_port() const override { return health_port_; }
  uint64_t budget_bytes() const override { return admission_.budget_bytes(); }
  int threads() const override { return width_; }

  std::shared_ptr<grpc::Channel> InProcessChannel() override {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(wire::kMaxMessageBytes);
    arguments.SetMaxSendMessageSize(wire::kMaxMessageBytes);
    return server_->InProcessChannel(arguments);
  }

  void RefuseNew() override {
    SetServing(false);
    sessions_.BeginDrain();
  }

  int64_t running_jobs() const override { return sessions_.live(); }

  void CancelRunning() override { sessions_.StopAll(); }

  bool Shutdown(absl::Duration grace) override {
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    // Probes were answered until here; who watches is cut, or it would hold the process for ever.
    if (health_server_ != nullptr) health_server_->Shutdown(absl::ToChronoTime(absl::Now()));
    return sessions_.WaitUntilEmpty(absl::Now() + grace + kWindDown);
  }

 private:
  SessionDeps MakeSessionDeps() {
    SessionDeps deps;
    deps.create_job = MakeJobFactory(width_);
    deps.admission = &admission_;
    deps.ingest = SubmitTo(&ingest_);
    deps.compute = SubmitTo(&compute_);
    deps.executor = &compute_;
    deps.clock = &clock_;
    deps.events = config_.events;
    deps.build_id = QUANTD_VERSION;
    return deps;
  }

  RpcService::Deps MakeServiceDeps() {
    RpcService::Deps deps;
    deps.sessions = &sessions_;
    deps.admission = &admission_;
    deps.create_job = MakeJobFactory(width_);
    deps.ingest = SubmitTo(&ingest_);
    deps.compute = SubmitTo(&compute_);
    deps.facts.build_id = QUANTD_VERSION;
    deps.facts.methods = ListMethods();
    deps.facts.layouts = ListLayouts();
    deps.facts.budget_bytes = admission_.budget_bytes();
    deps.facts.worker_threads = width_;
    deps.facts.cpu = CpuModel();
    deps.facts.blas = BlasDescription();
    return deps;
  }

  // A server of its own: every port of a gRPC server serves all its services, and this one is open
  // to whoever probes.
  absl::Status ListenForHealth() {
    const std::string& address = config_.options.health_listen;
    if (address == "off") return absl::OkStatus();
    ServerOptions options = config_.options;
    options.transport_bytes = kHealthTransportBytes;
    options.reflection = false;
    grpc::ServerBuilder builder;
    ApplyTransport(options, &builder);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &health_port_);
    // gRPC starts no server without a service: this one says UNIMPLEMENTED to all but health.
    builder.RegisterCallbackGenericService(&nothing_else_);
    health_server_ = builder.BuildAndStart();
    if (health_server_ == nullptr || health_port_ == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, " for health (address in use or not ours)"));
    }
    health_server_->GetHealthCheckService()->SetServingStatus(kLivenessName, true);
    return absl::OkStatus();
  }

  void SetServing(bool serving) {
    for (const auto* server : {&server_, &health_server_}) {
      if (*server == nullptr) continue;
      grpc::HealthCheckServiceInterface* const health = (*server)->GetHealthCheckService();
      health->SetServingStatus("", serving);
      health->SetServingStatus(kServiceName, serving);
    }
  }

  // A renewed certificate is noticed here as gRPC notices it: by reading the file again.
  void LookAtCertificate() {
    if (!config_.options.tls() || clock_.Now() < next_certificate_look_) return;
    next_certificate_look_ = clock_.Now() + kCertificateLook;
    const absl::StatusOr<absl::Time> end = CertificateEnd(config_.options);
    if (!end.ok() || *end == certificate_end_) return;
    certificate_end_ = *end;
    config_.events->OnCertificate(*end);
  }

  // Destroyed from the last to the first: what runs goes before what it runs on.
  const Config config_;
  const int width_;
  SystemClock clock_;
  Admission admission_;
  Pool compute_;
  Pool ingest_;
  SessionRegistry sessions_;
  RpcService service_;
  std::vector<int> ports_;
  std::unique_ptr<grpc::Server> server_;
  int health_port_ = 0;
  grpc::CallbackGenericService nothing_else_;
  std::unique_ptr<grpc::Server> health_server_;
  absl::Time next_certificate_look_ = absl::InfinitePast();  // the ticker's, once it runs
  absl::Time certificate_end_ = absl::InfinitePast();
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<QuantdServer>> QuantdServer::Start(Config config) {
  const int width = config.options.threads > 0 ? config.options.threads : AvailableThreads();
  auto assembly = std::make_unique<Assembly>(std::move(config), width);
  QUANTD_RETURN_IF_ERROR(assembly->Listen());
  return std::unique_ptr<QuantdServer>(std::move(assembly));
}

}  // namespace quantd
