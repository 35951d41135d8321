#include "client/cli/dequantize.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/exit_codes.h"
#include "client/cli/job_runs.h"
#include "client/cli/text_table.h"
#include "client/files/output_writer.h"
#include "client/files/quantization_config.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

DType DTypeOfConfig(const Checkpoint& checkpoint) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    auto it = checkpoint.config().find(key);
    if (it == checkpoint.config().end() || !it->is_string()) continue;
    if (*it == "float16") return DType::kF16;
    if (*it == "bfloat16") return DType::kBF16;
  }
  return DType::kF32;
}

class DequantizeRun {
 public:
  DequantizeRun(const DequantizeFlags& flags, Environment* env) : flags_(flags), env_(env) {}

  int Run() {
    if (absl::Status status = Prepare(); !status.ok()) {
      return EndEarly(status, 0, 0, /*has_folder=*/false, env_);
    }
    absl::Status status = Work();
    if (status.ok()) status = CopyAndFinish(writer_.get(), *env_->stop);
    const int total = static_cast<int>(plan_->modules().size());
    if (!status.ok()) {
      const int open = static_cast<int>(writer_->Pending().size());
      return EndEarly(status, total - open, total, /*has_folder=*/true, env_);
    }
    *env_->out << total << " layers as " << std::string(DTypeName(dtype_)) << ": " << flags_.out_dir
               << "\n";
    return kExitOk;
  }

 private:
  absl::Status Prepare() {
    QUANTD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(flags_.quantized_dir));
    checkpoint_ = std::make_unique<Checkpoint>(std::move(checkpoint));
    QUANTD_ASSIGN_OR_RETURN(modules_, ReadQuantizedModules(*checkpoint_));
    dtype_ = flags_.dtype != DType::kUnspecified ? flags_.dtype : DTypeOfConfig(*checkpoint_);
    OutputOptions options;
    options.max_shard_bytes = flags_.max_shard_bytes;
    QUANTD_ASSIGN_OR_RETURN(OutputPlan plan,
                            OutputPlan::ForDequantize(*checkpoint_, modules_, dtype_, options));
    plan_ = std::make_unique<OutputPlan>(std::move(plan));
    QUANTD_ASSIGN_OR_RETURN(connection_, env_->connect(flags_.connection.channel));
    OpenOutputOptions open;
    open.resume = flags_.resume;
    QUANTD_ASSIGN_OR_RETURN(writer_,
                            OutputWriter::Open(*plan_, *checkpoint_, flags_.out_dir, open));
    return absl::OkStatus();
  }

  const QuantizedModule& SourceOf(int m) const {
    const std::string& name = plan_->modules()[m].module;
    for (const QuantizedModule& module : modules_) {
      if (module.module == name) return module;
    }
    return modules_[m];  // unreachable: the plan was made from modules_
  }

  uint64_t DenseBytes(int m) const {
    return static_cast<uint64_t>(plan_->modules()[m].rows) * plan_->modules()[m].cols *
           DTypeBytes(dtype_);
  }

  client::JobSize SizeOf(int m) const {
    return {DenseBytes(m), static_cast<double>(DenseBytes(m))};  // the work goes with the bytes
  }

  absl::Status Work() {
    pending_ = writer_->Pending();
    client::JobSize whole;
    for (int m : pending_) whole += SizeOf(m);
    display_ = std::make_unique<ProgressDisplay>(env_->err, env_->terminal,
                                                 static_cast<int>(pending_.size()), whole,
                                                 [] { return absl::Now(); });
    client::Submitter submitter(connection_.get(), SubmitOptionsFrom(flags_.connection),
                                env_->stop);
    absl::Status status = submitter.Run(
        static_cast<int>(pending_.size()),
        [this](int index, int attempt, client::JobClient* client) {
          return Try(pending_[index], index, attempt, client);
        },
        [this](int index, const client::JobAnswer& answer) {
          return Take(pending_[index], answer);
        },
        TellRetries(display_.get(), flags_.verbose));
    display_->Close();
    return status;
  }

  client::Attempt Try(int m, int index, int attempt, client::JobClient* client) {
    const QuantizedModule& module = SourceOf(m);
    DequantizeJob job;
    job.id = JobId(run_id_, index, attempt);
    job.layout = std::string(module.layout->name());
    job.output_dtype = dtype_;
    job.weights.push_back(PackedWeightOf(module));
    std::vector<absl::Span<const std::byte>> bytes;
    for (int t : module.tensors) {
      const CheckpointTensor& tensor = checkpoint_->tensors()[t];
      TensorDecl decl = DeclOf(*tensor.stored, Role::kPacked);
      bytes.push_back(checkpoint_->Bytes(tensor));
      decl.digest = DigestOf(bytes.back());
      job.tensors.push_back(std::move(decl));
    }
    client::CallOptions options;
    options.deadline = DeadlineFor(flags_.connection, /*predicted_seconds=*/60, DenseBytes(m));
    client::Attempt result = client->Dequantize(job, bytes, options);
    if (!result.failure.status.ok()) {
      result.failure.status = absl::Status(
          result.failure.status.code(), absl::StrCat(plan_->modules()[m].weight, ": ",
                                                     std::string(result.failure.status.message())));
    }
    return result;
  }

  absl::Status Take(int m, const client::JobAnswer& answer) {
    std::vector<PackedView> views;
    for (const client::ReceivedTensor& tensor : answer.tensors) {
      PackedDecl decl = plan_->modules()[m].decls.front();
      decl.dtype = tensor.decl.dtype;
      decl.shape = tensor.decl.shape;
      views.push_back({std::move(decl), {tensor.bytes.data(), tensor.bytes.size()}});
    }
    QUANTD_RETURN_IF_ERROR(writer_->WriteModule(m, views, "{}"));
    for (int t : SourceOf(m).tensors) checkpoint_->Release(checkpoint_->tensors()[t]);
    display_->Done(1, SizeOf(m));
    return absl::OkStatus();
  }

  const DequantizeFlags& flags_;
  Environment* env_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<QuantizedModule> modules_;
  DType dtype_ = DType::kF32;
  std::unique_ptr<OutputPlan> plan_;
  std::unique_ptr<client::Connection> connection_;
  std::unique_ptr<OutputWriter> writer_;
  std::vector<int> pending_;
  std::unique_ptr<ProgressDisplay> display_;
  const std::string run_id_ = NewRunId();
};

}  // namespace

int RunDequantize(const DequantizeFlags& flags, Environment* env) {
  return DequantizeRun(flags, env).Run();
}

}  // namespace quantd::cli
