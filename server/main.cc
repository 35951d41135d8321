// quantd: reads its options, starts the server, waits for a signal, drains.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/build_info.h"
#include "server/cpu_model.h"
#include "server/grpc_log.h"
#include "server/health_query.h"
#include "server/lifecycle/drain.h"
#include "server/lifecycle/malloc_tuning.h"
#include "server/lifecycle/memory_limit.h"
#include "server/lifecycle/port_file.h"
#include "server/lifecycle/signals.h"
#include "server/options.h"
#include "server/server.h"
#include "server/telemetry/event_tee.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/metrics_endpoint.h"
#include "server/telemetry/status_board.h"
#include "workers/core/clock.h"
#include "workers/core/status_macros.h"
#include "workers/engine/engine.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

std::vector<std::string> MethodNames() {
  std::vector<std::string> names = {"dequantize"};
  for (const MethodInfo& method : ListMethods()) names.push_back(method.name);
  return names;
}

// What was asked for and what came of it, once.
nlohmann::json StartFields(const ServerOptions& options, const QuantdServer& server,
                           uint64_t memory_limit, int metrics_port) {
  return {{"version", QUANTD_VERSION},
          {"revision", kRevision},
          {"pid", getpid()},
          {"cpu", CpuModel()},
          {"blas", BlasDescription()},
          {"listen", options.listen},
          {"ports", server.ports()},
          {"metrics_listen", options.metrics_listen},
          {"metrics_port", metrics_port},
          {"health_listen", options.health_listen},
          {"health_port", server.health_port()},
          {"tls", options.tls()},
          {"client_certificates", !options.tls_client_ca.empty()},
          {"insecure", options.insecure},
          {"memory_limit_bytes", memory_limit},
          {"budget_bytes", server.budget_bytes()},
          {"transport_bytes", ResolveTransport(options)},
          {"threads", server.threads()},
          {"max_queued_jobs", options.max_queued_jobs},
          {"max_queued_bytes", options.max_queued_bytes},
          {"queue_timeout_seconds", absl::ToDoubleSeconds(options.queue_timeout)},
          {"max_job_seconds", absl::ToDoubleSeconds(options.max_job_time)},
          {"drain_seconds", absl::ToDoubleSeconds(options.drain_time)},
          {"max_connection_age_seconds", absl::ToDoubleSeconds(options.connection_age)},
          {"max_streams", options.max_streams},
          {"lookahead_bytes", options.lookahead_bytes},
          {"reflection", options.reflection}};
}

absl::Status WritePorts(const ServerOptions& options, const QuantdServer& server,
                        int metrics_port) {
  if (options.port_file.empty()) return absl::OkStatus();
  nlohmann::json ports = {{"pid", getpid()},
                          {"grpc", server.ports().empty() ? 0 : server.ports().front()},
                          {"grpc_ports", server.ports()},
                          {"metrics", metrics_port},
                          {"health", server.health_port()}};
  return WriteFileAtomically(options.port_file, ports.dump() + "\n");
}

void WarnAboutMemory(const ServerOptions& options, const QuantdServer& server,
                     uint64_t memory_limit, JsonLog* log) {
  const uint64_t asked = server.budget_bytes() + ResolveTransport(options);
  if (memory_limit == 0 || asked <= memory_limit) return;
  log->Write(LogLevel::kWarning, "memory",
             {{"message", "budget and transport together exceed the memory limit"},
              {"asked_bytes", asked},
              {"memory_limit_bytes", memory_limit}});
}

// Serves until a signal arrives and everything has ended. The status is why it could not start.
absl::Status Serve(const ServerOptions& options, const std::shared_ptr<JsonLog>& log) {
  const uint64_t memory_limit = MemoryLimitBytes();
  QUANTD_RETURN_IF_ERROR(CheckBudget(options.budget_bytes, memory_limit));
  const ServerFacts facts = {QUANTD_VERSION, BlasDescription(), CpuModel(), kRevision,
                             memory_limit};
  const SystemClock clock;
  Metrics metrics(facts, MethodNames(), log);
  StatusBoard board(facts, &clock);
  EventTee events(&metrics, &board);
  std::unique_ptr<MetricsEndpoint> endpoint;
  if (options.metrics_listen != "off") {
    QUANTD_ASSIGN_OR_RETURN(
        endpoint, StartMetricsEndpoint(options.metrics_listen, metrics.collectable(),
                                       [&](const auto& path) { return board.Page(path); }));
  }
  const int metrics_port = endpoint == nullptr ? 0 : endpoint->port();
  QuantdServer::Config config;
  config.options = options;
  config.memory_limit = memory_limit;
  config.events = &events;
  QUANTD_ASSIGN_OR_RETURN(const std::unique_ptr<QuantdServer> server,
                          QuantdServer::Start(std::move(config)));
  events.OnPool(0, server->threads());
  events.OnBudget(0, server->budget_bytes());
  QUANTD_RETURN_IF_ERROR(WritePorts(options, *server, metrics_port));
  log->Write(LogLevel::kInfo, "start", StartFields(options, *server, memory_limit, metrics_port));
  WarnAboutMemory(options, *server, memory_limit, log.get());

  ProcessSignals signals;
  int number = 0;
  while (number == 0) number = signals.Wait(absl::InfiniteDuration());
  log->Write(LogLevel::kInfo, "drain",
             {{"signal", number}, {"running_jobs", server->running_jobs()}});
  bool clean = true;
  DrainSteps steps;
  steps.refuse_new = [&] { server->RefuseNew(); };
  steps.running_jobs = [&] { return static_cast<int>(server->running_jobs()); };
  steps.cancel_running = [&] { server->CancelRunning(); };
  steps.shutdown = [&](absl::Duration grace) { clean = server->Shutdown(grace); };
  const DrainEnd end = Drain(steps, options.drain_time, clock, &signals);
  log->Write(clean ? LogLevel::kInfo : LogLevel::kError, "stop",
             {{"end", DrainEndName(end)}, {"all_jobs_returned", clean}});
  if (!clean) {
    // A kernel that does not see its cancel token would hold the process past its grace period.
    log->Flush();
    _exit(1);
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  TuneMalloc();
  BlockShutdownSignals();
  const CommandLine line = ParseCommandLine(argc, argv);
  if (line.done) {
    std::fputs(line.text.c_str(), line.exit_code == 0 ? stdout : stderr);
    return line.exit_code;
  }
  if (line.health) {
    const absl::Status answer = AskHealth(*line.health);
    if (answer.ok()) {
      std::printf("serving\n");
      return 0;
    }
    std::fprintf(stderr, "quantd: %s\n", std::string(answer.message()).c_str());
    return 1;
  }
  absl::Status status = InitBlas();
  if (line.version) {
    std::printf("quantd %s\nrevision %s\n%s\n%s\n", QUANTD_VERSION, kRevision,
                BlasDescription().c_str(), CpuModel().c_str());
    return 0;
  }
  if (status.ok()) {
    const auto log = std::make_shared<JsonLog>(line.options.log_level);
    RouteGrpcLog(log);
    status = Serve(line.options, log);
    RouteGrpcLog(nullptr);
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "quantd: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  try {
    return quantd::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quantd: %s\n", error.what());
    return 1;
  }
}
