#include "client/cli/run_watch.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace quantd::cli {
namespace {

// The last name of the path, "." and a slash at its end taken for what they mean.
std::string BaseName(const std::string& folder) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(folder, error).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace

RunWatch::RunWatch(const QuantizeFlags& flags, absl::Time start, Environment* env)
    : flags_(flags), start_(start), env_(env) {}

absl::Status RunWatch::Listen() {
  if (flags_.metrics_listen.empty()) return absl::OkStatus();
  metrics_ = std::make_shared<client::RunMetrics>(BaseName(flags_.model_dir), start_);
  auto endpoint = client::StartRunEndpoint(flags_.metrics_listen, metrics_);
  if (!endpoint.ok()) {
    return absl::Status(
        endpoint.status().code(),
        absl::StrCat("--metrics-listen: ", std::string(endpoint.status().message())));
  }
  endpoint_ = *std::move(endpoint);
  *env_->err << "metrics on " << endpoint_->url() << "\n" << std::flush;
  return absl::OkStatus();
}

void RunWatch::Begin(const RunSize& size) {
  display_ = std::make_unique<ProgressDisplay>(env_->err, env_->terminal, size.open_layers,
                                               size.open, [] { return absl::Now(); });
  listeners_.Add(display_.get());
  if (metrics_ == nullptr) return;
  metrics_->Plan(size.layers, size.weights,
                 [display = display_.get()] { return display->EtaSeconds(); });
  listeners_.Add(metrics_.get());
}

void RunWatch::Linger() const {
  if (endpoint_ == nullptr || display_ == nullptr) return;
  *env_->out << std::flush;  // what the run said should not wait as long
  env_->stop->WaitFor(absl::Seconds(flags_.metrics_linger_seconds));
}

}  // namespace quantd::cli
