// What quantd can be told, from the command line or the environment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/health_query.h"
#include "server/telemetry/json_log.h"

namespace quantd {

struct ServerOptions {
  std::vector<std::string> listen = {
      "127.0.0.1:50051"};  // HOST:PORT or unix:PATH; port 0: any free
  bool insecure = false;   // plain transport on an address others can reach
  std::string tls_cert;    // PEM files, reloaded when they change
  std::string tls_key;
  std::string tls_client_ca;  // set: clients must show a certificate signed by it
  std::string metrics_listen = "127.0.0.1:9464";  // HOST:PORT, or "off"
  std::string health_listen = "off";              // HOST:PORT, or "off"

  uint64_t budget_bytes = 0;     // what admitted jobs may use together; 0: see ResolveBudget
  uint64_t transport_bytes = 0;  // gRPC's own quota beside the budget; 0: see ResolveTransport
  int threads = 0;               // 0: AvailableThreads()
  int64_t max_queued_jobs = 64;
  uint64_t max_queued_bytes = 0;  // predicted peaks of waiting jobs; 0: four times the budget
  absl::Duration queue_timeout = absl::Minutes(10);
  absl::Duration max_job_time = absl::Hours(24);  // for a call without a deadline, or a longer one
  absl::Duration drain_time = absl::Seconds(25);
  absl::Duration connection_age = absl::Minutes(30);
  int max_streams = 64;           // per connection
  int lookahead_bytes = 1 << 20;  // unread bytes a stream may have in flight towards the server
  bool reflection = false;

  LogLevel log_level = LogLevel::kInfo;
  std::string port_file;

  bool tls() const { return !tls_cert.empty(); }
};

// The transport's own memory: 6 MiB (the transport's buffers and one message) for each of the
// streams that the queue admits, plus 64 MiB, at least 256 MiB.
uint64_t ResolveTransport(const ServerOptions& options);

// The budget as asked for, else three quarters of `memory_limit` less the transport's share and
// what buffers keep for reuse, at least an eighth of the limit. `memory_limit` 0 (unknown) counts
// as 4 GiB.
uint64_t ResolveBudget(const ServerOptions& options, uint64_t memory_limit);

// INVALID_ARGUMENT where `budget` bytes alone are more than `memory_limit` (0: unknown): the kernel
// would end the process in the middle of a job.
absl::Status CheckBudget(uint64_t budget, uint64_t memory_limit);

// INVALID_ARGUMENT naming option and value: a port out of range, half a key pair, or an address
// that others can reach (neither 127.0.0.0/8, ::1, localhost nor a unix socket) without TLS or
// `insecure`.
absl::Status CheckOptions(const ServerOptions& options);

// True for 127.0.0.0/8, ::1, localhost and unix sockets; `address` as in `listen`.
bool IsLoopback(const std::string& address);

// What main does after reading its arguments.
struct CommandLine {
  ServerOptions options;
  bool version = false;               // print it and end; nothing was checked
  std::optional<HealthQuery> health;  // ask this and end
  bool done = false;  // print `text` and end with `exit_code`: help, or a mistake (2)
  int exit_code = 0;
  std::string text;
};

// Never throws and never exits; CheckOptions has been applied.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace quantd
