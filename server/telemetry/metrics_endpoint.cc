#include "server/telemetry/metrics_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "prometheus/exposer.h"

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
  connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  close(fd);
}

class ExposerEndpoint : public MetricsEndpoint {
 public:
  ExposerEndpoint(const std::string& listen, std::shared_ptr<prometheus::Collectable> collectable)
      : collectable_(std::move(collectable)),
        exposer_(std::make_unique<prometheus::Exposer>(listen)) {
    exposer_->RegisterCollectable(collectable_);
  }

  // Once it has been scraped, the exposer's accept loop looks at its stop flag only every 2 s or
  // when a connection arrives: so bring it some.
  ~ExposerEndpoint() override {
    absl::Notification stopped;
    std::thread knocking([&stopped, port = port()] {
      while (!stopped.WaitForNotificationWithTimeout(absl::Milliseconds(20))) Knock(port);
    });
    exposer_.reset();
    stopped.Notify();
    knocking.join();
  }

  int port() const override {
    const std::vector<int> ports = exposer_->GetListeningPorts();
    return ports.empty() ? 0 : ports.front();
  }

 private:
  std::shared_ptr<prometheus::Collectable> collectable_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> StartMetricsEndpoint(
    const std::string& listen, std::shared_ptr<prometheus::Collectable> collectable) {
  try {
    std::unique_ptr<MetricsEndpoint> endpoint =
        std::make_unique<ExposerEndpoint>(listen, std::move(collectable));
    return endpoint;
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("metrics cannot listen on ", listen,
                                               " (address in use or not ours): ", error.what()));
  }
}

}  // namespace quantd
