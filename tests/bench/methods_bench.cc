// Runs methods through the engine on a made-up layer and prints what each took.
//
// usage: methods_bench ROWS COLUMNS THREADS METHOD[,KEY=VALUE...][+METHOD...] ...
//
// One line a method: NAME SECONDS PEAK_BYTES PREDICTED_BYTES OUTPUT_ERROR BITS. Several methods
// joined by '+' are candidates of one Measure job; the figures are the first one's then. The peak
// is the resident size at its highest, above what the process held before the upload. Each line
// comes from a child of its own, so that what one leaves behind is not the next one's.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "workers/engine/engine.h"
#include "workers/methods/check.h"
#include "workers/methods/resolve.h"
#include "workers/pool/pool.h"

namespace quantd {
namespace {

struct NoProgress : ProgressSink {
  void OnProgress(Phase, double) override {}
};

// Bytes of a line of /proc/self/status.
double StatusBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(key + ":", 0) == 0) return 1024.0 * std::atof(line.c_str() + key.size() + 1);
  }
  return 0;
}

void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

// A layer and its statistics: Gaussian weights of uneven columns, an H with a decaying band.
class Layer {
 public:
  Layer(int64_t m, int64_t n) : m_(m), n_(n) {}

  TensorDecl Declare(const std::string& name, Role role) const {
    TensorDecl decl;
    decl.name = name;
    decl.role = role;
    decl.dtype = DType::kF32;
    switch (role) {
      case Role::kHessian:
      case Role::kCrossMoment:
        decl.shape = {n_, n_};
        break;
      case Role::kChannelAbsMax:
        decl.shape = {n_};
        break;
      default:
        decl.shape = {m_, n_};
    }
    return decl;
  }

  // Row `row` of the tensor of this role.
  void Row(Role role, int64_t row, std::vector<float>* out) const {
    std::mt19937_64 generator(static_cast<uint64_t>(role) * 1000003 + static_cast<uint64_t>(row));
    std::normal_distribution<float> normal;
    out->resize(n_);
    for (int64_t j = 0; j < n_; ++j) {
      const float draw = normal(generator);
      switch (role) {
        case Role::kHessian:
        case Role::kCrossMoment:
          (*out)[j] = (row == j ? 1.0f + static_cast<float>(row % 13) : 0.0f) +
                      std::exp2(-static_cast<float>(std::abs(row - j))) *
                          (role == Role::kCrossMoment ? 1.02f : 1.0f);
          break;
        case Role::kFisher:
        case Role::kChannelAbsMax:
          (*out)[j] = draw * draw + 0.01f;
          break;
        default:
          (*out)[j] = draw * (1.0f + static_cast<float>(j % 7)) * (j % 97 == 0 ? 3.0f : 0.02f);
      }
    }
  }

 private:
  int64_t m_;
  int64_t n_;
};

absl::Status Upload(const Layer& layer, const std::vector<TensorDecl>& decls, Job* job) {
  std::vector<float> row;
  for (size_t t = 0; t < decls.size(); ++t) {
    const int64_t rows = decls[t].shape.size() == 1 ? 1 : decls[t].shape[0];
    for (int64_t r = 0; r < rows; ++r) {
      layer.Row(decls[t].role, r, &row);
      const uint64_t bytes = row.size() * 4;
      const absl::Status status =
          job->Write(static_cast<int>(t), static_cast<uint64_t>(r) * bytes,
                     {reinterpret_cast<const std::byte*>(row.data()), static_cast<size_t>(bytes)});
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Spec> SpecOf(const std::string& text) {
  std::vector<std::string> parts = absl::StrSplit(text, ',');
  std::vector<std::pair<std::string, std::string>> settings;
  for (size_t i = 1; i < parts.size(); ++i) {
    settings.push_back(absl::StrSplit(parts[i], absl::MaxSplits('=', 1)));
  }
  return ResolveSpec(parts[0], settings);
}

// Runs `request`, which has everything but its tensors, and prints its line.
template <typename Request>
absl::Status RunJob(const std::string& name, Request request, const std::vector<Spec>& specs,
                    const Layer& layer, int threads) {
  request.id = "bench";
  request.layout = "plain";
  request.tensors = {layer.Declare("w.weight", Role::kWeight), layer.Declare("h", Role::kHessian)};
  for (const Spec& spec : specs) {
    for (const Role role : RequiredRoles(spec)) {
      if (role == Role::kHessian) continue;
      request.tensors.push_back(layer.Declare(std::string(RoleName(role)), role));
    }
  }
  Pool::Options options;
  options.threads = threads;
  Pool pool(options);
  const double before = StatusBytes("VmRSS");
  ResetPeak();
  auto job = Job::Create(request, JobLimits(), threads);
  if (!job.ok()) return job.status();
  CancelToken cancel;
  NoProgress progress;
  const RunContext context{&pool, &cancel, &progress};
  absl::Status status = (*job)->Begin(context);
  if (status.ok()) status = Upload(layer, request.tensors, job->get());
  if (!status.ok()) return status;
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<JobResult> result = (*job)->Run(context);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (!result.ok()) return result.status();
  const TensorReport& report =
      result->candidates.empty() ? result->report.tensors[0] : result->candidates[0].report;
  std::printf("%s %.3f %.0f %llu %.4g %.3f\n", name.c_str(), took.count(),
              StatusBytes("VmHWM") - before,
              static_cast<unsigned long long>((*job)->cost().peak_bytes),
              report.error.output_relative_error.value_or(-1), report.all_in_bits_per_weight);
  return absl::OkStatus();
}

absl::Status RunMethod(const std::string& text, int64_t m, int64_t n, int threads) {
  std::vector<Spec> specs;
  for (absl::string_view one : absl::StrSplit(text, '+')) {
    const absl::StatusOr<Spec> spec = SpecOf(std::string(one));
    if (!spec.ok()) return spec.status();
    specs.push_back(*spec);
  }
  const Layer layer(m, n);
  if (specs.size() > 1) {
    MeasureJob request;
    request.candidates = specs;
    return RunJob(text, std::move(request), specs, layer, threads);
  }
  QuantizeJob request;
  request.spec = specs.front();
  return RunJob(text, std::move(request), specs, layer, threads);
}

int Main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(
        stderr,
        "usage: methods_bench ROWS COLUMNS THREADS METHOD[,KEY=VALUE...][+METHOD...] ...\n");
    return 2;
  }
  int failed = 0;
  for (int i = 4; i < argc; ++i) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      const absl::Status status =
          RunMethod(argv[i], std::atoll(argv[1]), std::atoll(argv[2]), std::atoi(argv[3]));
      if (!status.ok()) std::fprintf(stderr, "%s: %s\n", argv[i], status.ToString().c_str());
      std::fflush(stdout);
      _exit(status.ok() ? 0 : 1);
    }
    int code = 0;
    waitpid(child, &code, 0);
    failed += code != 0;
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) { return quantd::Main(argc, argv); }
