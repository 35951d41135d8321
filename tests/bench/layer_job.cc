#include "tests/bench/layer_job.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "workers/core/status_macros.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

class RoundCount : public ProgressSink {
 public:
  void OnProgress(Phase, double) override {}
  void OnRound(int, int round, double) override { rounds = round; }

  int rounds = 0;
};

// Bytes of a line of /proc/self/status.
double StatusBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(key + ":", 0) == 0) return 1024.0 * std::atof(line.c_str() + key.size() + 1);
  }
  return 0;
}

absl::StatusOr<QuantizeJob> Request(const std::string& method, int64_t m, int64_t n,
                                    bool with_hessian) {
  const std::vector<std::string> parts = absl::StrSplit(method, ',');
  std::vector<std::pair<std::string, std::string>> settings;
  for (size_t i = 1; i < parts.size(); ++i) {
    settings.push_back(absl::StrSplit(parts[i], absl::MaxSplits('=', 1)));
  }
  QuantizeJob request;
  QUANTD_ASSIGN_OR_RETURN(request.spec, ResolveSpec(parts[0], settings));
  request.id = "bench";
  request.layout = "plain";
  TensorDecl weight, hessian;
  weight.name = "w.weight";
  weight.role = Role::kWeight;
  weight.dtype = DType::kF32;
  weight.shape = {m, n};
  request.tensors.push_back(weight);
  if (with_hessian) {
    hessian.name = "hessian";
    hessian.role = Role::kHessian;
    hessian.dtype = DType::kF32;
    hessian.shape = {n, n};
    request.tensors.push_back(hessian);
  }
  return request;
}

absl::Status Upload(Job* job, int tensor, const float* values, int64_t rows, int64_t n) {
  const auto row_bytes = static_cast<uint64_t>(n) * sizeof(float);
  for (int64_t r = 0; r < rows; ++r) {
    QUANTD_RETURN_IF_ERROR(job->Write(
        tensor, static_cast<uint64_t>(r) * row_bytes,
        {reinterpret_cast<const std::byte*>(values + r * n), static_cast<size_t>(row_bytes)}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LayerRun> RunLayer(const std::string& method, int64_t m, int64_t n, const float* w,
                                  const float* h, Executor& executor) {
  QUANTD_ASSIGN_OR_RETURN(QuantizeJob request, Request(method, m, n, h != nullptr));
  const double before = StatusBytes("VmRSS");
  std::ofstream("/proc/self/clear_refs") << "5";  // the highest resident size begins anew
  QUANTD_ASSIGN_OR_RETURN(const std::unique_ptr<Job> job,
                          Job::Create(std::move(request), JobLimits(), executor.width()));
  CancelToken cancel;
  RoundCount progress;
  RunContext context;
  context.executor = &executor;
  context.cancel = &cancel;
  context.progress = &progress;
  QUANTD_RETURN_IF_ERROR(job->Begin(context));
  QUANTD_RETURN_IF_ERROR(Upload(job.get(), 0, w, m, n));
  if (h != nullptr) QUANTD_RETURN_IF_ERROR(Upload(job.get(), 1, h, n, n));
  const auto start = std::chrono::steady_clock::now();
  QUANTD_ASSIGN_OR_RETURN(const JobResult result, job->Run(context));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  LayerRun run;
  run.seconds = took.count();
  run.peak_bytes = StatusBytes("VmHWM") - before;
  run.rounds = progress.rounds;
  run.cost = job->cost();
  run.report = result.report.tensors[0];
  return run;
}

absl::StatusOr<Cost> LayerCost(const std::string& method, int64_t m, int64_t n, bool with_hessian,
                               int threads) {
  QUANTD_ASSIGN_OR_RETURN(QuantizeJob request, Request(method, m, n, with_hessian));
  QUANTD_ASSIGN_OR_RETURN(const std::unique_ptr<Job> job,
                          Job::Create(std::move(request), JobLimits(), threads));
  return job->cost();
}

}  // namespace quantd
