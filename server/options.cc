#include "server/options.h"

#include <algorithm>
#include <sstream>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "workers/core/buffer.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kStreamBytes = 6 * kMiB;

bool IsUnix(absl::string_view address) {
  return absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:");
}

// Splits HOST:PORT at the last colon; brackets of an IPv6 host are removed.
bool SplitHostPort(absl::string_view address, absl::string_view* host, int* port) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  *host = address.substr(0, colon);
  if (absl::StartsWith(*host, "[") && absl::EndsWith(*host, "]")) {
    *host = host->substr(1, host->size() - 2);
  } else if (host->find(':') != absl::string_view::npos) {
    return false;  // an IPv6 host without brackets: where the port begins is a guess
  }
  return absl::SimpleAtoi(address.substr(colon + 1), port) && *port >= 0 && *port <= 65535;
}

absl::Status CheckAddress(const char* option, const std::string& address,
                          const char* other_forms = "") {
  absl::string_view host;
  int port = 0;
  if (SplitHostPort(address, &host, &port)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": \"", address,
                   "\" is not HOST:PORT or [IPV6]:PORT with a port in 0..65535", other_forms));
}

absl::Status CheckListen(const ServerOptions& options, const std::string& address) {
  if (IsUnix(address)) return absl::OkStatus();
  QUANTD_RETURN_IF_ERROR(CheckAddress("--listen", address, ", nor unix:PATH"));
  if (IsLoopback(address) || options.tls() || options.insecure) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--listen: other machines can reach ", address,
                   "; give --tls-cert and --tls-key, or --insecure to serve it in plain text"));
}

absl::Status CheckTls(const ServerOptions& options) {
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key: both or neither");
  }
  if (!options.tls_client_ca.empty() && !options.tls()) {
    return absl::InvalidArgumentError("--tls-client-ca needs --tls-cert and --tls-key");
  }
  if (options.tls() && options.insecure) {
    return absl::InvalidArgumentError("--insecure contradicts --tls-cert");
  }
  return absl::OkStatus();
}

// Option values in the units people type.
struct Seconds {
  double queue_timeout, max_job, drain, connection_age;
};

void AddTransportOptions(CLI::App* app, ServerOptions* o) {
  app->add_option("--listen", o->listen, "HOST:PORT or unix:PATH; port 0 takes a free one")
      ->delimiter(',')
      ->envname("QUANTD_LISTEN")
      ->capture_default_str();
  app->add_flag("--insecure", o->insecure, "Allow plain text on an address others can reach")
      ->envname("QUANTD_INSECURE");
  app->add_option("--tls-cert", o->tls_cert, "PEM certificate chain; reloaded when it changes")
      ->envname("QUANTD_TLS_CERT");
  app->add_option("--tls-key", o->tls_key, "PEM private key")->envname("QUANTD_TLS_KEY");
  app->add_option("--tls-client-ca", o->tls_client_ca,
                  "PEM roots; clients must show a certificate signed by one of them")
      ->envname("QUANTD_TLS_CLIENT_CA");
  app->add_option("--metrics-listen", o->metrics_listen,
                  "HOST:PORT of GET /metrics and the status page, or \"off\"")
      ->envname("QUANTD_METRICS_LISTEN")
      ->capture_default_str();
  app->add_option("--health-listen", o->health_listen,
                  "HOST:PORT of the health service alone, in plain text, for probes; or \"off\"")
      ->envname("QUANTD_HEALTH_LISTEN")
      ->capture_default_str();
  app->add_option("--max-streams", o->max_streams, "Calls at once per connection")
      ->check(CLI::Range(1, 100000))
      ->envname("QUANTD_MAX_STREAMS")
      ->capture_default_str();
  app->add_option("--lookahead", o->lookahead_bytes,
                  "Bytes a client may send ahead of what the server has read, per stream")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(64 << 10, 64 << 20))
      ->envname("QUANTD_LOOKAHEAD")
      ->capture_default_str();
  app->add_flag("--reflection", o->reflection, "Serve gRPC reflection (v1alpha)")
      ->envname("QUANTD_REFLECTION");
}

void AddResourceOptions(CLI::App* app, ServerOptions* o) {
  app->add_option("--budget", o->budget_bytes,
                  "Bytes that jobs may use together (8GiB, 512M, ...); default: three quarters of "
                  "the memory limit less the transport's share")
      ->transform(CLI::AsSizeValue(false))
      ->envname("QUANTD_BUDGET");
  app->add_option(
         "--transport-budget", o->transport_bytes,
         "Bytes for gRPC itself, beside --budget; default: 6 MiB per admitted stream + 64 MiB")
      ->transform(CLI::AsSizeValue(false))
      ->envname("QUANTD_TRANSPORT_BUDGET");
  app->add_option("--threads", o->threads, "Worker threads; 0: as many as CPUs may be used")
      ->check(CLI::Range(0, 4096))
      ->envname("QUANTD_THREADS")
      ->capture_default_str();
  app->add_option("--max-queued-jobs", o->max_queued_jobs, "Jobs that may wait for memory")
      ->check(CLI::Range(int64_t{0}, int64_t{100000}))
      ->envname("QUANTD_MAX_QUEUED_JOBS")
      ->capture_default_str();
  app->add_option("--max-queued-bytes", o->max_queued_bytes,
                  "Predicted bytes of waiting jobs; 0: four times the budget")
      ->transform(CLI::AsSizeValue(false))
      ->envname("QUANTD_MAX_QUEUED_BYTES")
      ->capture_default_str();
}

void AddTimeOptions(CLI::App* app, Seconds* s) {
  const auto add = [app](const char* name, double* value, const char* env, const char* help) {
    app->add_option(name, *value, help)
        ->check(CLI::Range(0.0, 1e9))
        ->envname(env)
        ->capture_default_str();
  };
  add("--queue-timeout", &s->queue_timeout, "QUANTD_QUEUE_TIMEOUT",
      "Seconds a job may wait for memory");
  add("--max-job-seconds", &s->max_job, "QUANTD_MAX_JOB_SECONDS",
      "Longest life of a call, whatever deadline it came with");
  add("--drain-seconds", &s->drain, "QUANTD_DRAIN_SECONDS",
      "After SIGTERM, seconds that running jobs get");
  add("--max-connection-age", &s->connection_age, "QUANTD_MAX_CONNECTION_AGE",
      "Seconds after which clients are asked to reconnect; running calls finish");
}

// What a server listens on, as an address to call: from the same machine every address is one.
std::string Dialable(const std::string& address) {
  absl::string_view host;
  int port = 0;
  if (!SplitHostPort(address, &host, &port)) return address;
  if (host == "0.0.0.0") return absl::StrCat("127.0.0.1:", port);
  if (host == "::") return absl::StrCat("[::1]:", port);
  return address;
}

CLI::App* AddHealth(CLI::App* app, HealthQuery* query, double* timeout) {
  CLI::App* health = app->add_subcommand(
      "health", "Ask a server whether it serves: exit code 0 if so, else 1 and the reason");
  health->add_option("target", query->target, "HOST:PORT of its --health-listen")
      ->envname("QUANTD_HEALTH_LISTEN")
      ->capture_default_str();
  health
      ->add_option("--service", query->service,
                   "What to ask for; \"liveness\" also serves while the server drains")
      ->capture_default_str();
  health->add_option("--timeout", *timeout, "Seconds to wait for the answer")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  return health;
}

CommandLine Mistake(const std::string& message) {
  CommandLine line;
  line.done = true;
  line.exit_code = 2;
  line.text = absl::StrCat("quantd: ", message, "\n");
  return line;
}

}  // namespace

uint64_t ResolveTransport(const ServerOptions& options) {
  if (options.transport_bytes != 0) return options.transport_bytes;
  const uint64_t streams = std::max<uint64_t>(static_cast<uint64_t>(options.max_queued_jobs),
                                              static_cast<uint64_t>(options.max_streams));
  return std::max(256 * kMiB, streams * kStreamBytes + 64 * kMiB);
}

uint64_t ResolveBudget(const ServerOptions& options, uint64_t memory_limit) {
  if (options.budget_bytes != 0) return options.budget_bytes;
  if (memory_limit == 0) memory_limit = 4096 * kMiB;
  const uint64_t share = memory_limit / 4 * 3;
  const uint64_t beside = ResolveTransport(options) + Buffer::kKeptBytes;
  const uint64_t floor = memory_limit / 8;
  return share > beside + floor ? share - beside : floor;
}

absl::Status CheckBudget(uint64_t budget, uint64_t memory_limit) {
  if (memory_limit == 0 || budget <= memory_limit) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--budget: ", budget, " bytes, but the container or machine allows ", memory_limit));
}

bool IsLoopback(const std::string& address) {
  if (IsUnix(address)) return true;
  absl::string_view host;
  int port = 0;
  if (!SplitHostPort(address, &host, &port)) return false;
  if (host == "localhost" || host == "::1") return true;
  // Four decimal numbers, the first 127: a name such as "127.example.com" is not an address.
  int parts = 0;
  size_t begin = 0;
  while (begin <= host.size()) {
    const size_t dot = std::min(host.find('.', begin), host.size());
    int value = 0;
    if (!absl::SimpleAtoi(host.substr(begin, dot - begin), &value) || value < 0 || value > 255) {
      return false;
    }
    if (parts == 0 && value != 127) return false;
    ++parts;
    begin = dot + 1;
  }
  return parts == 4;
}

absl::Status CheckOptions(const ServerOptions& options) {
  QUANTD_RETURN_IF_ERROR(CheckTls(options));
  if (options.listen.empty()) return absl::InvalidArgumentError("--listen: no address");
  for (const std::string& address : options.listen) {
    QUANTD_RETURN_IF_ERROR(CheckListen(options, address));
  }
  if (options.metrics_listen != "off") {
    QUANTD_RETURN_IF_ERROR(CheckAddress("--metrics-listen", options.metrics_listen));
  }
  if (options.health_listen != "off") {
    QUANTD_RETURN_IF_ERROR(CheckAddress("--health-listen", options.health_listen));
  }
  return absl::OkStatus();
}

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  ServerOptions& o = line.options;
  Seconds seconds = {absl::ToDoubleSeconds(o.queue_timeout), absl::ToDoubleSeconds(o.max_job_time),
                     absl::ToDoubleSeconds(o.drain_time), absl::ToDoubleSeconds(o.connection_age)};
  std::string log_level(LogLevelName(o.log_level));
  HealthQuery health;
  double health_timeout = absl::ToDoubleSeconds(health.timeout);
  try {
    CLI::App app("quantd: a stateless gRPC service that quantizes the weights of neural networks",
                 "quantd");
    AddTransportOptions(&app, &o);
    AddResourceOptions(&app, &o);
    AddTimeOptions(&app, &seconds);
    app.add_option("--log-level", log_level, "debug, info, warning, error or off")
        ->envname("QUANTD_LOG_LEVEL")
        ->capture_default_str();
    app.add_option("--port-file", o.port_file, "Write the bound ports here as JSON, atomically")
        ->envname("QUANTD_PORT_FILE");
    const CLI::App* asks_health = AddHealth(&app, &health, &health_timeout);
    app.add_flag("--version", line.version, "Print the version, the BLAS and its kernel");
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success&) {
      line.done = true;
      line.text = app.help();
      return line;
    }
    if (line.version) return line;
    if (asks_health->parsed()) {
      health.timeout = absl::Seconds(health_timeout);
      health.target = Dialable(health.target);
      line.health = health;
      return line;
    }
  } catch (const CLI::Error& error) {
    return Mistake(absl::StrCat(error.what(), "\nRun quantd --help for the options."));
  } catch (const std::exception& error) {
    return Mistake(error.what());
  }
  o.queue_timeout = absl::Seconds(seconds.queue_timeout);
  o.max_job_time = absl::Seconds(seconds.max_job);
  o.drain_time = absl::Seconds(seconds.drain);
  o.connection_age = absl::Seconds(seconds.connection_age);
  if (!ParseLogLevel(log_level, &o.log_level)) {
    return Mistake(
        absl::StrCat("--log-level: \"", log_level, "\" is not debug, info, warning, error or off"));
  }
  if (const absl::Status status = CheckOptions(o); !status.ok()) {
    return Mistake(std::string(status.message()));
  }
  return line;
}

}  // namespace quantd
