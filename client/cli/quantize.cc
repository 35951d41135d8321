#include "client/cli/quantize.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/exit_codes.h"
#include "client/cli/job_runs.h"
#include "client/cli/layer_table.h"
#include "client/cli/quantize_plan.h"
#include "client/cli/run_watch.h"
#include "client/cli/spec_text.h"
#include "client/cli/state_keeper.h"
#include "client/cli/text_table.h"
#include "client/files/durable_file.h"
#include "client/files/output_writer.h"
#include "client/pages/quantize_page.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

namespace fs = std::filesystem;

using client::RunListener;

// The part of a group that is still to do; a tied group is asked for as a whole, because the others
// have a say in its scales.
struct PendingGroup {
  std::vector<int> modules;
  std::set<int> done;  // of them: written in an earlier run
  const GroupPlan* plan = nullptr;
  double seconds = 0;  // predicted
};

std::vector<PendingGroup> PendingGroups(const QuantizePlan& plan, const RunEstimate& estimate,
                                        const OutputWriter& writer) {
  const std::vector<int> pending = writer.Pending();
  const std::set<int> open(pending.begin(), pending.end());
  std::vector<PendingGroup> groups;
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    PendingGroup group;
    group.plan = &plan.groups[g];
    group.seconds = estimate.group_seconds[g];
    for (int m : plan.groups[g].modules) {
      if (!open.contains(m)) group.done.insert(m);
      if (open.contains(m) || plan.groups[g].tied) group.modules.push_back(m);
    }
    if (group.done.size() == plan.groups[g].modules.size()) continue;
    if (!plan.groups[g].tied) group.done.clear();
    groups.push_back(std::move(group));
  }
  LongestFirst(&groups);
  return groups;
}

class QuantizeRun {
 public:
  QuantizeRun(const QuantizeFlags& flags, Environment* env) : flags_(flags), env_(env) {}

  int Run();
  // After the run: serves what it told, and holds nothing that another run may want.
  void Linger();

 private:
  absl::Status Prepare();
  absl::Status Work();
  client::Attempt Try(int index, int attempt, client::JobClient* client);
  client::Attempt Call(int index, const std::string& job_id, const StoredState* state,
                       client::JobClient* client);
  absl::Status Take(int index, client::JobAnswer answer);
  absl::StatusOr<LayerRecord> Written(int module) const;
  absl::Status TellEarlierLayers() const;
  absl::Status Collect();
  absl::Status WriteFolderReport() const;
  absl::Status WriteRunReport() const;  // --report and --html
  absl::Status WriteRunPage() const;
  int Conclude();

  client::JobSize SizeOf(const PendingGroup& group) const;
  std::string NameOf(const PendingGroup& group) const;
  int done() const { return total() - static_cast<int>(writer_->Pending().size()); }
  int total() const { return static_cast<int>(plan_->output->modules().size()); }

  const QuantizeFlags& flags_;
  Environment* env_;
  std::unique_ptr<QuantizePlan> plan_;
  std::unique_ptr<client::Connection> connection_;
  RunEstimate estimate_;
  std::unique_ptr<OutputWriter> writer_;
  std::vector<PendingGroup> groups_;
  const std::string run_id_ = NewRunId();
  const absl::Time start_ = absl::Now();
  RunWatch watch_{flags_, start_, env_};
  std::unique_ptr<StateKeeper> states_;
  std::map<int, LayerRecord> rejected_;  // by module
  std::vector<LayerRecord> records_;     // one per module at the end
};

// A report or page that cannot be written should be known before hours of work, not after.
absl::Status CheckReportPath(const QuantizeFlags& flags, absl::string_view flag,
                             const std::string& report) {
  if (report.empty()) return absl::OkStatus();
  const auto fail = [flag](absl::string_view what, const fs::path& path) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", what, " \"", path.string(), "\""));
  };
  std::error_code error;
  const fs::path path = fs::weakly_canonical(fs::absolute(report, error), error);
  if (fs::is_directory(path, error) || !path.has_filename()) return fail("there is a folder", path);
  const fs::path parent = path.parent_path();
  if (parent == fs::weakly_canonical(fs::absolute(flags.out_dir, error), error)) {
    // The folder is made by the run; its own files are not for replacing.
    const std::string name = path.filename().string();
    const bool taken = fs::exists(fs::path(flags.model_dir) / name, error) || name == kReportName ||
                       name == kJournalName || name == "quantize_config.json" ||
                       absl::EndsWith(name, ".index.json") || absl::EndsWith(name, ".safetensors");
    return taken ? fail("the output has a file of its own at", path) : absl::OkStatus();
  }
  if (!fs::is_directory(parent, error)) return fail("there is no folder", parent);
  if (access(parent.c_str(), W_OK) != 0) return fail("no permission to write into", parent);
  return absl::OkStatus();
}

// Of the requests behind the records: records of one request carry the same times.
StageSeconds StagesOf(const std::vector<LayerRecord>& records) {
  StageSeconds sum;
  const StageSeconds* last = nullptr;
  for (const LayerRecord& record : records) {
    const StageSeconds& s = record.seconds;
    const bool same = last != nullptr && last->total == s.total && last->prepare == s.prepare &&
                      last->solve == s.solve && last->upload == s.upload;
    last = &s;
    if (same) continue;
    sum.upload += s.upload;
    sum.queue += s.queue;
    sum.prepare += s.prepare;
    sum.solve += s.solve;
    sum.measure += s.measure;
    sum.total += s.total;
  }
  return sum;
}

absl::Status QuantizeRun::Prepare() {
  QUANTD_RETURN_IF_ERROR(CheckReportPath(flags_, "--report", flags_.report));
  QUANTD_RETURN_IF_ERROR(CheckReportPath(flags_, "--html", flags_.html));
  QUANTD_ASSIGN_OR_RETURN(plan_, MakeQuantizePlan(flags_, *env_->stop));
  QUANTD_ASSIGN_OR_RETURN(connection_, env_->connect(flags_.connection.channel));
  QUANTD_ASSIGN_OR_RETURN(estimate_, EstimateRun(plan_.get(), connection_.get()));
  *env_->out << DescribePlan(*plan_, estimate_, flags_.verbose) << std::flush;
  return absl::OkStatus();
}

client::JobSize QuantizeRun::SizeOf(const PendingGroup& group) const {
  client::JobSize size = {0, group.seconds};
  for (int m : group.modules) {
    size.bytes += plan_->checkpoint.Find(plan_->output->modules()[m].weight)->stored->size();
  }
  return size;
}

absl::Status QuantizeRun::Work() {
  groups_ = PendingGroups(*plan_, estimate_, *writer_);
  client::JobSize open;
  int tensors = 0;
  for (const PendingGroup& group : groups_) {
    open += SizeOf(group);
    tensors += static_cast<int>(group.modules.size() - group.done.size());
  }
  uint64_t weights = 0;
  for (const PlannedModule& module : plan_->output->modules()) weights += module.rows * module.cols;
  watch_.Begin({tensors, open, total(), weights});
  QUANTD_RETURN_IF_ERROR(TellEarlierLayers());
  states_ = std::make_unique<StateKeeper>(flags_.out_dir, watch_.display());
  if (tensors < total()) {
    watch_.Say(absl::StrCat("resuming: ", total() - tensors, " of ", total(), " layers are done"));
  }
  client::Submitter submitter(connection_.get(), SubmitOptionsFrom(flags_.connection), env_->stop);
  absl::Status status = submitter.Run(
      static_cast<int>(groups_.size()),
      [this](int index, int attempt, client::JobClient* client) {
        return Try(index, attempt, client);
      },
      [this](int index, client::JobAnswer answer) { return Take(index, std::move(answer)); },
      [this, say = TellRetries(watch_.display(), flags_.verbose)](
          int index, const client::AttemptFailure& failure, absl::Duration delay) {
        watch_.Tell(&RunListener::Again, index);
        say(index, failure, delay);
      });
  if (submitter.failed_job()) watch_.Tell(&RunListener::Failed, *submitter.failed_job());
  watch_.Tell(&RunListener::Close);
  return status;
}

std::string QuantizeRun::NameOf(const PendingGroup& group) const {
  const std::string& first = plan_->output->modules()[group.modules.front()].weight;
  return absl::StrCat(first, group.modules.size() > 1 ? " and others" : "");
}

client::Attempt QuantizeRun::Try(int index, int attempt, client::JobClient* client) {
  const PendingGroup& group = groups_[index];
  const std::string name = NameOf(group), job_id = JobId(run_id_, index, attempt);
  const std::optional<StoredState> state = states_->Newest(group.modules, name);
  if (state) watch_.Say(absl::StrCat(name, ": goes on from its stored state"));
  client::Attempt result = Call(index, job_id, state ? &*state : nullptr, client);
  if (state && RefusesCheckpoint(result.failure) && !env_->stop->stopped()) {
    watch_.Say(absl::StrCat(name, ": begins anew, the server does not take its stored state: ",
                            std::string(result.failure.status.message())));
    watch_.Tell(&RunListener::Again, index);
    // The state stays until a newer one takes its place: another server may take it.
    result = Call(index, job_id + "-anew", nullptr, client);
  }
  if (!result.failure.status.ok()) {
    result.failure.status =
        absl::Status(result.failure.status.code(),
                     absl::StrCat(name, ": ", std::string(result.failure.status.message())));
  }
  return result;
}

// One call, going on from `state` unless it is null.
client::Attempt QuantizeRun::Call(int index, const std::string& job_id, const StoredState* state,
                                  client::JobClient* client) {
  const PendingGroup& group = groups_[index];
  GroupRequest request = MakeRequest(*plan_, group.modules, group.plan->statistics, job_id);
  if (state != nullptr) AddCheckpoint(*state, &request);
  uint64_t bytes = 0;
  for (size_t i = 0; i < request.bytes.size(); ++i) {
    bytes += request.bytes[i].size();
    if (request.job.tensors[i].role == Role::kWeight) {
      request.job.tensors[i].digest = DigestOf(request.bytes[i]);
    }
  }
  client::CallOptions options;
  options.deadline = DeadlineFor(flags_.connection, group.seconds, bytes);
  watch_.Tell(&RunListener::Begun, index,
              static_cast<int>(group.modules.size() - group.done.size()));
  GroupObserver observer(index, SizeOf(group), group.modules, NameOf(group), &watch_.listeners(),
                         states_.get());
  client::Attempt result = client->Quantize(request.job, request.bytes, options, &observer);
  if (result.failure.status.ok() &&
      result.answer.final.report.tensors.size() != group.modules.size()) {
    result.failure.status = absl::InternalError(
        absl::StrCat("the server reported on ", result.answer.final.report.tensors.size(),
                     " weights of ", group.modules.size()));
  }
  return result;
}

absl::Status QuantizeRun::Take(int index, client::JobAnswer answer) {
  const PendingGroup& group = groups_[index];
  for (size_t w = 0; w < group.modules.size(); ++w) {
    const int m = group.modules[w];
    if (group.done.contains(m)) continue;
    const PlannedModule& module = plan_->output->modules()[m];
    LayerRecord record;
    record.report = answer.final.report.tensors[w];
    if (module.fold >= 0) record.folded_into = plan_->output->folds()[module.fold].norm;
    record.calibration_tokens = answer.final.report.calibration_tokens;
    record.build_id = answer.final.build_id;
    record.seconds = answer.final.report.seconds;
    if (record.report.outcome == Outcome::kRejected) {
      watch_.Say(absl::StrCat(record.report.name, ": REJECTED: ", record.report.reason));
      watch_.Tell(&RunListener::Finished, index, record.report);
      rejected_[m] = std::move(record);
      continue;
    }
    std::vector<PackedView> views;
    for (const client::ReceivedTensor& tensor : answer.tensors) {
      if (tensor.weight != static_cast<int>(w)) continue;
      PackedDecl decl{
          tensor.decl.name.substr(std::min(module.module.size(), tensor.decl.name.size())),
          tensor.decl.dtype, tensor.decl.shape};
      views.push_back({std::move(decl), {tensor.bytes.data(), tensor.bytes.size()}});
    }
    QUANTD_RETURN_IF_ERROR(writer_->WriteModule(m, views, LayerToJson(record, /*run=*/true).dump(),
                                                &record.report.spec));
    watch_.Tell(&RunListener::Finished, index, record.report);
    plan_->checkpoint.Release(*plan_->checkpoint.Find(module.weight));
  }
  // After the journal's lines: a kill in between costs a state that nobody needs, no work.
  states_->Drop(group.modules);
  for (const Statistic& statistic : group.plan->statistics) plan_->statistics->Release(statistic);
  for (int m : group.modules) {
    const auto own = plan_->own_statistics.find(plan_->output->modules()[m].module);
    if (own == plan_->own_statistics.end()) continue;
    for (const Statistic& statistic : own->second) plan_->statistics->Release(statistic);
  }
  watch_.Tell(&RunListener::Done, static_cast<int>(group.modules.size() - group.done.size()),
              SizeOf(group));
  return absl::OkStatus();
}

// What the journal knows of a module that is written.
absl::StatusOr<LayerRecord> QuantizeRun::Written(int module) const {
  QUANTD_ASSIGN_OR_RETURN(const std::string text, writer_->ReportJson(module));
  return LayerFromJson(Json::parse(text, nullptr, /*allow_exceptions=*/false));
}

absl::Status QuantizeRun::TellEarlierLayers() const {
  const std::vector<int> pending = writer_->Pending();
  for (int m = 0; m < total(); ++m) {
    if (std::binary_search(pending.begin(), pending.end(), m)) continue;
    QUANTD_ASSIGN_OR_RETURN(const LayerRecord record, Written(m));
    watch_.Tell(&RunListener::Finished, client::kEarlierRun, record.report);
  }
  return absl::OkStatus();
}

absl::Status QuantizeRun::Collect() {
  for (int m = 0; m < total(); ++m) {
    if (auto it = rejected_.find(m); it != rejected_.end()) {
      records_.push_back(it->second);
      continue;
    }
    QUANTD_ASSIGN_OR_RETURN(LayerRecord record, Written(m));
    records_.push_back(std::move(record));
  }
  return absl::OkStatus();
}

absl::Status QuantizeRun::WriteFolderReport() const {
  const std::string layout(plan_->layout->name());
  return WriteDurably(flags_.out_dir + "/" + kReportName,
                      ReportToJson(layout, records_, Json(nullptr)).dump(2) + "\n");
}

absl::Status QuantizeRun::WriteRunPage() const {
  QuantizePage page;
  page.title = fs::path(flags_.model_dir).lexically_normal().filename().string();
  page.facts = {
      {"layout", std::string(plan_->layout->name())},
      {"statistics",
       flags_.statistics.empty() ? "none" : fs::path(flags_.statistics).filename().string()},
      {"server", flags_.connection.channel.target.empty() ? "in this process"
                                                          : flags_.connection.channel.target},
      {"wall time", HumanSeconds(absl::ToDoubleSeconds(absl::Now() - start_))},
      {"files", HumanBytes(plan_->output->TotalBytes())},
  };
  for (const LayerRecord& record : records_) {
    page.layers.push_back({record.report, SpecSummary(record.report.spec), record.folded_into});
    page.layers.back().report.name = ModuleName(record.report.name);
  }
  page.seconds = StagesOf(records_);
  return WriteDurably(flags_.html, RenderQuantizePage(page));
}

absl::Status QuantizeRun::WriteRunReport() const {
  if (!flags_.html.empty()) QUANTD_RETURN_IF_ERROR(WriteRunPage());
  if (flags_.report.empty()) return absl::OkStatus();
  Json run = {{"seconds", absl::ToDoubleSeconds(absl::Now() - start_)},
              {"predicted_seconds", estimate_.seconds},
              {"predicted_peak_bytes", estimate_.largest_peak_bytes},
              {"requests", plan_->groups.size()},
              {"jobs_in_flight", flags_.connection.jobs},
              {"embedded_server", flags_.connection.channel.target.empty()}};
  absl::StatusOr<v1::GetCapabilitiesResponse> server =
      client::GetCapabilities(connection_->channel());
  if (server.ok()) {
    run["server"] = {{"build_id", server->build_id()},
                     {"cpu", server->cpu()},
                     {"blas", server->blas()},
                     {"worker_threads", server->worker_threads()},
                     {"budget_bytes", server->budget_bytes()}};
  }
  const std::string layout(plan_->layout->name());
  return WriteDurably(flags_.report, ReportToJson(layout, records_, run).dump(2) + "\n");
}

// Applies the policy to what came back, and finishes the folder if it allows.
int QuantizeRun::Conclude() {
  if (absl::Status status = Collect(); !status.ok()) return Fail(status, env_);
  *env_->out << "\n" << LayerTable(records_) << std::flush;
  const ReportTotals totals = TotalsOf(records_);
  const bool stays_open = totals.rejected > 0 || (totals.degraded > 0 && !flags_.accept_degraded);
  if (stays_open) {
    if (absl::Status status = WriteRunReport(); !status.ok()) Fail(status, env_);
    for (const LayerRecord& record : records_) {
      if (record.report.outcome == Outcome::kOk) continue;
      *env_->err << "error: " << record.report.name << ": "
                 << std::string(OutcomeName(record.report.outcome)) << ": " << record.report.reason
                 << "\n";
    }
    *env_->err << done() << " of " << total()
               << " layers are safe in the folder, which stays open; ";
    if (totals.rejected > 0) {
      *env_->err << "mend the input and run again with --resume\n";
      return kExitBadInput;
    }
    *env_->err << "take them with --resume --on-degraded accept\n";
    return kExitDegraded;
  }
  absl::Status status = WriteFolderReport();
  if (status.ok()) status = CopyAndFinish(writer_.get(), *env_->stop);
  if (!status.ok()) {
    return EndEarly(status, done(), total(), true, env_);
  }
  *env_->out << "\n"
             << totals.weights << " layers, " << HumanCount(totals.parameters) << " weights at "
             << absl::StrFormat("%.3f", totals.all_in_bits_per_weight) << " bits each, in "
             << HumanSeconds(absl::ToDoubleSeconds(absl::Now() - start_)) << ": " << flags_.out_dir
             << "\n";
  status = WriteRunReport();
  if (status.ok()) return kExitOk;
  *env_->err << "error: the folder is finished, but not its report: "
             << std::string(status.message()) << "\n";
  return kExitRuntime;
}

int QuantizeRun::Run() {
  if (flags_.resume && !flags_.dry_run && IsFinishedFolder(flags_.out_dir)) {
    if (absl::Status status = RemoveLeftovers(flags_.out_dir); !status.ok()) {
      return Fail(status, env_);
    }
    *env_->out << flags_.out_dir << " is finished already\n";
    return kExitOk;
  }
  absl::Status status = flags_.dry_run ? absl::OkStatus() : watch_.Listen();
  if (status.ok()) status = Prepare();
  if (!status.ok()) return EndEarly(status, 0, 0, /*has_folder=*/false, env_);
  if (flags_.dry_run) return kExitOk;
  OpenOutputOptions options;
  options.resume = flags_.resume;
  absl::StatusOr<std::unique_ptr<OutputWriter>> writer =
      OutputWriter::Open(*plan_->output, plan_->checkpoint, flags_.out_dir, options);
  if (!writer.ok()) return Fail(writer.status(), env_);
  writer_ = *std::move(writer);
  status = Work();
  if (!status.ok()) return EndEarly(status, done(), total(), /*has_folder=*/true, env_);
  return Conclude();
}

void QuantizeRun::Linger() {
  states_.reset();
  writer_.reset();
  connection_.reset();
  watch_.Linger();
}

}  // namespace

int RunQuantize(const QuantizeFlags& flags, Environment* env) {
  QuantizeRun run(flags, env);
  const int code = run.Run();
  run.Linger();
  return code;
}

}  // namespace quantd::cli
