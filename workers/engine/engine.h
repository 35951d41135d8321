// validate -> plan -> intake -> run: what happens to a job, without knowing who asked for it.
//
// Rows are independent once H is factored, so a weight is worked on in stripes of rows: each stripe
// is solved, packed, decoded from the packed bytes and measured while it is in cache. Stripe
// boundaries depend on shapes and spec alone; results are the same bytes for any Executor width.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/job.h"
#include "workers/core/packed.h"
#include "workers/core/progress.h"
#include "workers/core/report.h"

namespace quantd {

// Bounds on one job, fixed at start-up.
struct JobLimits {
  int max_tensors = 256;
  int max_candidates = 256;
  int64_t max_dimension = int64_t{1} << 24;
  uint64_t max_upload_bytes = uint64_t{1} << 40;
};

// What a job needs, predicted from shapes and spec alone.
struct Cost {
  uint64_t input_bytes = 0;
  uint64_t output_bytes = 0;
  uint64_t peak_bytes =
      0;  // uploads + results + working memory at the worst moment, `width` threads
  double flops = 0;
  double seconds = 0;  // on this machine with `width` threads, without upload and queue
};

// One tensor that a job delivers.
struct OutputDecl {
  std::string name;  // ModuleName(weight) + suffix; for Dequantize the weight's name
  int weight = 0;    // index of the weight it belongs to
  DType dtype = DType::kUnspecified;
  Shape shape;
};

struct Output {
  OutputDecl decl;
  Digest digest;
  Buffer bytes;
};

struct JobResult {
  std::vector<Output> outputs;  // weight by weight; none for a REJECTED weight, nor for Measure
  // Measure: weight by weight, all candidates of each in their order.
  std::vector<CandidateReport> candidates;
  JobReport report;  // empty `tensors` for Dequantize and Measure
};

struct RunContext {
  Executor* executor = nullptr;
  const CancelToken* cancel = nullptr;
  ProgressSink* progress = nullptr;
  StateSink* states = nullptr;  // may be null: no states are wanted
};

// A job between its header and its result. Create() validates everything that can be known without
// bytes; then Write() once per chunk, in any interleaving of tensors; then Run() once.
class Job : public TensorSink {
 public:
  ~Job() override = default;

  // INVALID_ARGUMENT / OUT_OF_RANGE / FAILED_PRECONDITION naming tensor, field and value.
  static absl::StatusOr<std::unique_ptr<Job>> Create(QuantizeJob job, const JobLimits& limits,
                                                     int width);
  static absl::StatusOr<std::unique_ptr<Job>> Create(MeasureJob job, const JobLimits& limits,
                                                     int width);
  static absl::StatusOr<std::unique_ptr<Job>> Create(DequantizeJob job, const JobLimits& limits,
                                                     int width);

  virtual const Cost& cost() const = 0;
  virtual const std::vector<TensorDecl>& inputs() const = 0;
  // Dequantize: the first weight's; Measure: the first candidate.
  virtual const Spec& resolved_spec() const = 0;
  virtual const std::string& method() const = 0;  // the spec's, or "dequantize", "measure"
  virtual uint64_t weight_elements() const = 0;   // sum of m n, Measure: of all candidates

  // Allocates what the upload lands in. Call once, after admission, before the first Write. The
  // context's executor and token are used by Write, too, and outlive the job.
  virtual absl::Status Begin(const RunContext& context) = 0;

  // Does the work and releases inputs as it goes. Per-weight trouble is an Outcome in the report,
  // not a status; statistics and given codes that cannot be used at all are INVALID_ARGUMENT, so is
  // a damaged CHECKPOINT, and one of another request is FAILED_PRECONDITION; CANCELLED and
  // DEADLINE_EXCEEDED come from the token, within 100 ms.
  virtual absl::StatusOr<JobResult> Run(const RunContext& context) = 0;
};

// What the caller may ask for: the lists behind GetCapabilities and `quantctl methods`.
struct MethodInfo {
  std::string name;
  std::string title;
  std::string paper;
  std::string needs;  // statistics
  std::string when_not_to_use;
  std::string reading;  // of an uncertain description
  Spec defaults;        // resolved
};
std::vector<MethodInfo> ListMethods();
std::vector<std::string> ListLayouts();

}  // namespace quantd
