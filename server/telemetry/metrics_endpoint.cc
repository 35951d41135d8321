#include "server/telemetry/metrics_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "CivetServer.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "prometheus/text_serializer.h"

namespace quantd {
namespace {

// Opens and closes a connection to one of our own ports.
void Knock(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // A knock that nobody hears is followed by another.
  static_cast<void>(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  close(fd);
}

// Browsers open connections ahead of need, and each holds a thread until it is used or given up: a
// scrape must find one free.
constexpr char kThreads[] = "8";
constexpr char kPatienceMs[] = "2000";

// Pages carry their style and script with them and fetch from where they came from.
constexpr char kHeaders[] =
    "Connection: close\r\n"
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'\r\n";

void Answer(mg_connection* connection, const char* status, const WebPage& page, bool with_body) {
  const std::string head =
      absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", page.content_type,
                   "\r\nContent-Length: ", page.body.size(), "\r\n", kHeaders, "\r\n");
  mg_write(connection, head.data(), head.size());
  if (with_body) mg_write(connection, page.body.data(), page.body.size());
}

WebPage Text(const std::string& text) { return {"text/plain; charset=utf-8", text}; }

class Handler : public CivetHandler {
 public:
  Handler(std::shared_ptr<prometheus::Collectable> collectable, WebPages pages)
      : collectable_(std::move(collectable)), pages_(std::move(pages)) {}

  bool handleGet(CivetServer*, mg_connection* connection) override {
    return Serve(connection, true);
  }
  bool handleHead(CivetServer*, mg_connection* connection) override {
    return Serve(connection, false);
  }

 private:
  bool Serve(mg_connection* connection, bool with_body) const {
    const mg_request_info* request = mg_get_request_info(connection);
    const std::string path = request->local_uri == nullptr ? "" : request->local_uri;
    // Nothing may be thrown through the C code that calls this.
    try {
      if (const std::optional<WebPage> page = PageAt(path)) {
        Answer(connection, "200 OK", *page, with_body);
      } else {
        Answer(connection, "404 Not Found", Text("not found; there is /metrics\n"), with_body);
      }
    } catch (const std::exception& error) {
      Answer(connection, "500 Internal Server Error", Text(error.what()), with_body);
    }
    return true;
  }

  std::optional<WebPage> PageAt(const std::string& path) const {
    if (path == "/metrics") {
      return WebPage{"text/plain; version=0.0.4; charset=utf-8",
                     prometheus::TextSerializer().Serialize(collectable_->Collect())};
    }
    return pages_ ? pages_(path) : std::nullopt;
  }

  const std::shared_ptr<prometheus::Collectable> collectable_;
  const WebPages pages_;
};

class CivetEndpoint : public MetricsEndpoint {
 public:
  CivetEndpoint(const std::string& listen, std::shared_ptr<prometheus::Collectable> collectable,
                WebPages pages)
      : handler_(std::move(collectable), std::move(pages)),
        server_(std::make_unique<CivetServer>(
            std::vector<std::string>{"listening_ports", listen, "num_threads", kThreads,
                                     "request_timeout_ms", kPatienceMs})) {
    server_->addHandler("**", handler_);
  }

  // Once it has answered, the accept loop looks at its stop flag only every 2 s or when a
  // connection arrives: so bring it some.
  ~CivetEndpoint() override {
    absl::Notification stopped;
    std::thread knocking([&stopped, port = port()] {
      while (!stopped.WaitForNotificationWithTimeout(absl::Milliseconds(20))) Knock(port);
    });
    server_.reset();
    stopped.Notify();
    knocking.join();
  }

  int port() const override {
    const std::vector<int> ports = server_->getListeningPorts();
    return ports.empty() ? 0 : ports.front();
  }

 private:
  Handler handler_;
  std::unique_ptr<CivetServer> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> StartMetricsEndpoint(
    const std::string& listen, std::shared_ptr<prometheus::Collectable> collectable,
    WebPages pages) {
  try {
    std::unique_ptr<MetricsEndpoint> endpoint =
        std::make_unique<CivetEndpoint>(listen, std::move(collectable), std::move(pages));
    return endpoint;
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("metrics cannot listen on ", listen,
                                               " (address in use or not ours): ", error.what()));
  }
}

}  // namespace quantd
