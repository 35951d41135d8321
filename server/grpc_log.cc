#include "server/grpc_log.h"

#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "grpc/support/log.h"
#include "nlohmann/json.hpp"

namespace quantd {
namespace {

struct Route {
  absl::Mutex mutex;
  std::shared_ptr<JsonLog> log ABSL_GUARDED_BY(mutex);
};

// Never destroyed: gRPC's threads may speak while the process ends.
Route& TheRoute() {
  static Route* const route = new Route;
  return *route;
}

void Forward(gpr_log_func_args* args) {
  std::shared_ptr<JsonLog> log;
  {
    absl::MutexLock lock(&TheRoute().mutex);
    log = TheRoute().log;
  }
  if (log == nullptr) return;
  const LogLevel level = args->severity == GPR_LOG_SEVERITY_ERROR  ? LogLevel::kError
                         : args->severity == GPR_LOG_SEVERITY_INFO ? LogLevel::kInfo
                                                                   : LogLevel::kDebug;
  if (!log->enabled(level)) return;
  absl::string_view file(args->file);
  file.remove_prefix(file.rfind('/') == absl::string_view::npos ? 0 : file.rfind('/') + 1);
  log->Write(level, "grpc",
             {{"message", args->message}, {"where", absl::StrCat(file, ":", args->line)}});
}

}  // namespace

void RouteGrpcLog(std::shared_ptr<JsonLog> log) {
  {
    absl::MutexLock lock(&TheRoute().mutex);
    TheRoute().log = std::move(log);
  }
  gpr_set_log_function(Forward);
}

}  // namespace quantd
