#include "client/cli/job_runs.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_codes.h"
#include "client/cli/text_table.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {

client::SubmitOptions SubmitOptionsFrom(const ConnectionFlags& flags) {
  client::SubmitOptions options;
  options.jobs = flags.jobs;
  options.retry.max_attempts = flags.max_attempts;
  return options;
}

absl::Duration DeadlineFor(const ConnectionFlags& flags, double predicted_seconds, uint64_t bytes) {
  if (flags.deadline_seconds > 0) return absl::Seconds(flags.deadline_seconds);
  constexpr double kSlowBytesPerSecond = 5e6;
  return absl::Minutes(20) + absl::Seconds(10 * predicted_seconds) +
         absl::Seconds(static_cast<double>(bytes) / kSlowBytesPerSecond);
}

std::string NewRunId() {
  std::random_device random;
  return absl::StrFormat("quantctl-%08x%08x", random(), random());
}

std::string JobId(const std::string& run_id, int index, int attempt) {
  return absl::StrCat(run_id, "-", index, ".", attempt);
}

TensorDecl DeclOf(const StoredTensor& stored, Role role) {
  TensorDecl decl;
  decl.name = stored.name;
  decl.role = role;
  decl.dtype = stored.dtype;
  decl.shape = stored.shape;
  return decl;
}

PackedWeight PackedWeightOf(const QuantizedModule& module) {
  PackedWeight weight{module.module + ".weight", module.rows, module.cols, module.spec};
  // Public formats do not tell the method; how codes were chosen does not matter to decode them.
  if (weight.spec.method.empty()) {
    weight.spec.method = module.spec.solve.solver == Solver::kGptq ? "gptq" : "rtn";
  }
  return weight;
}

client::Submitter::OnRetry TellRetries(ProgressDisplay* display, bool verbose) {
  return
      [display, verbose](int index, const client::AttemptFailure& failure, absl::Duration delay) {
        const bool full = failure.status.code() == absl::StatusCode::kResourceExhausted;
        if (full && !verbose) return;
        display->Say(absl::StrCat("request ", index + 1, ": ",
                                  absl::StatusCodeToString(failure.status.code()), ": ",
                                  std::string(failure.status.message()), "; again in ",
                                  HumanSeconds(absl::ToDoubleSeconds(delay))));
      };
}

absl::Status CopyAndFinish(OutputWriter* writer, const client::StopSource& stop) {
  QUANTD_RETURN_IF_ERROR(writer->CopyTensors([&stop](uint64_t) {
    return stop.stopped() ? absl::CancelledError("stopped") : absl::OkStatus();
  }));
  return writer->Finish();
}

int Fail(const absl::Status& status, Environment* env) {
  // Peers that know no such call say nothing but the code.
  const std::string text = status.message().empty() ? absl::StatusCodeToString(status.code())
                                                    : std::string(status.message());
  *env->err << "error: " << text << "\n";
  return ExitCodeFor(status);
}

int EndEarly(const absl::Status& status, int done, int total, bool has_folder, Environment* env) {
  const bool stopped = env->stop->stopped();
  if (stopped) {
    *env->err << "interrupted\n";
  } else {
    Fail(status, env);
  }
  if (has_folder) {
    *env->err << done << " of " << total
              << " layers are safe in the folder; continue with the same command and --resume\n";
  }
  return stopped ? kExitInterrupted : ExitCodeFor(status);
}

}  // namespace quantd::cli
