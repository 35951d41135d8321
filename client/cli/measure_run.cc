#include "client/cli/measure_run.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/job_runs.h"
#include "client/cli/progress_display.h"
#include "client/cli/spec_text.h"
#include "client/files/spec_json.h"
#include "client/lib/queries.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd::cli {
namespace {

// Layers of one request, and the candidates that it asks for.
struct PendingGroup {
  std::vector<int> layers;
  std::vector<int> candidates;
  double seconds = 0;  // predicted
};

class Observer : public client::JobObserver {
 public:
  Observer(int job, client::JobSize size, ProgressDisplay* display)
      : job_(job), size_(size), display_(display) {}
  ~Observer() override { display_->Over(job_); }
  void OnProgress(const wire::ProgressFrame& frame) override {
    if (frame.phase == Phase::kSolving) display_->Solving(job_, size_, frame);
  }

 private:
  const int job_;
  const client::JobSize size_;
  ProgressDisplay* const display_;
};

class MeasureRun {
 public:
  MeasureRun(const PlanInput& input, const PlanFlags& flags, FrontierFile* file, Environment* env)
      : input_(input), flags_(flags), file_(file), env_(env) {}

  absl::StatusOr<std::map<std::string, LayerFrontier>> Run() {
    TakeKnown();
    FindPending();
    if (pending_.empty()) return std::move(frontiers_);
    QUANTD_ASSIGN_OR_RETURN(connection_, env_->connect(flags_.connection.channel));
    QUANTD_RETURN_IF_ERROR(FitToBudget());
    LongestFirst(&pending_);
    client::JobSize whole;
    int layers = 0;
    for (const PendingGroup& group : pending_) {
      whole += SizeOf(group);
      layers += static_cast<int>(group.layers.size());
    }
    display_ = std::make_unique<ProgressDisplay>(env_->err, env_->terminal, layers, whole,
                                                 [] { return absl::Now(); });
    client::Submitter submitter(connection_.get(), SubmitOptionsFrom(flags_.connection),
                                env_->stop);
    const absl::Status status = submitter.Run(
        static_cast<int>(pending_.size()),
        [this](int index, int attempt, client::JobClient* client) {
          return Try(index, attempt, client);
        },
        [this](int index, client::JobAnswer answer) { return Take(index, std::move(answer)); },
        TellRetries(display_.get(), flags_.verbose));
    display_->Close();
    QUANTD_RETURN_IF_ERROR(status);
    return std::move(frontiers_);
  }

 private:
  void TakeKnown() {
    for (const InputLayer& layer : input_.layers) {
      if (!layer.kept.empty()) continue;
      LayerFrontier& frontier = frontiers_[layer.module];
      const LayerFrontier* known = file_->Find(layer.module, layer.source);
      if (known != nullptr) frontier = *known;
      frontier.module = layer.module;
      frontier.source = layer.source;
    }
  }

  bool Misses(int l, int candidate) const {
    const InputLayer& layer = input_.layers[l];
    return layer.fits[candidate] != 0 &&
           frontiers_.at(layer.module).Find(layer.keys[candidate]) == nullptr;
  }

  // Candidates that want the same statistics share a request, as they would share its H.
  void FindPending() {
    for (const std::vector<int>& group : input_.groups) {
      std::map<std::string, std::vector<int>> candidates;  // by what is sent with them
      for (int c = 0; c < static_cast<int>(input_.candidates.size()); ++c) {
        const bool missed =
            std::any_of(group.begin(), group.end(), [&](int layer) { return Misses(layer, c); });
        if (missed) candidates[SentWith(group, c)].push_back(c);
      }
      for (auto& [sent, list] : candidates) {
        PendingGroup pending;
        for (const int l : group) {
          if (IsWanted(l, list)) pending.layers.push_back(l);
        }
        pending.candidates = std::move(list);
        pending_.push_back(std::move(pending));
      }
    }
  }

  // A layer of the group that misses figures, or that one of the candidates ties to such a layer.
  bool IsWanted(int l, const std::vector<int>& candidates) const {
    return std::any_of(candidates.begin(), candidates.end(), [&](int c) {
      return Misses(l, c) ||
             (input_.layers[l].fits[c] != 0 && TiesWeights(input_.candidates[c].spec));
    });
  }

  // The same for every layer of the group that the candidate fits: their roles, and which form of
  // H.
  std::string SentWith(const std::vector<int>& group, int candidate) const {
    for (const int l : group) {
      if (input_.layers[l].fits[candidate] == 0) continue;
      std::string text;
      for (const Statistic& s : input_.layers[l].statistics[candidate]) {
        absl::StrAppend(&text, " ", static_cast<int>(s.role));
      }
      return text;
    }
    return "";
  }

  // What is sent with a layer: that of any candidate of the request which fits it.
  const std::vector<Statistic>& StatisticsOf(const PendingGroup& group, int l) const {
    const InputLayer& layer = input_.layers[l];
    const auto fitting = std::find_if(group.candidates.begin(), group.candidates.end(),
                                      [&layer](int c) { return layer.fits[c] != 0; });
    return layer.statistics[*fitting];
  }

  struct Request {
    MeasureJob job;
    std::vector<absl::Span<const std::byte>> bytes;
  };

  Request RequestOf(const PendingGroup& group, const std::string& job_id) const {
    Request request;
    request.job.id = job_id;
    request.job.layout = std::string(input_.layout->name());
    for (const int c : group.candidates) {
      request.job.candidates.push_back(input_.candidates[c].spec);
    }
    const auto add = [&request](const StoredTensor& stored, Role role,
                                absl::Span<const std::byte> bytes) {
      request.job.tensors.push_back(DeclOf(stored, role));
      request.bytes.push_back(bytes);
    };
    for (const int l : group.layers) {
      const InputLayer& layer = input_.layers[l];
      add(*layer.tensor->stored, Role::kWeight, input_.checkpoint.Bytes(*layer.tensor));
      request.job.tensors.back().digest = layer.source;
    }
    bool shared = false;
    for (const int l : group.layers) {
      for (const Statistic& s : StatisticsOf(group, l)) {
        const bool own = IsOfOneWeight(s.role);
        if (!own && l != group.layers.front()) continue;
        add(*s.stored, s.role, input_.statistics->Bytes(s));
        if (own) request.job.tensors.back().of = input_.layers[l].tensor->name();
        shared |= !own;
      }
    }
    if (shared) request.job.calibration_tokens = input_.statistics->tokens();
    return request;
  }

  // What the server says each request needs. One that is beyond its budget is cut in half.
  absl::Status FitToBudget() {
    for (size_t g = 0; g < pending_.size(); ++g) {
      QUANTD_ASSIGN_OR_RETURN(
          const client::JobEstimate estimate,
          client::Estimate(connection_->channel(), RequestOf(pending_[g], "estimate").job));
      pending_[g].seconds = estimate.seconds;
      if (estimate.admissible) continue;
      const PendingGroup whole = pending_[g];
      if (whole.layers.size() == 1 || Tied(whole)) {
        return absl::FailedPreconditionError(absl::StrCat(
            NameOf(whole), ": measuring needs ", estimate.peak_bytes,
            " bytes on the server, more than its whole budget of ", estimate.budget_bytes));
      }
      const auto middle = whole.layers.begin() + static_cast<int64_t>(whole.layers.size() / 2);
      pending_[g].layers.assign(whole.layers.begin(), middle);
      pending_.insert(pending_.begin() + static_cast<int64_t>(g) + 1,
                      PendingGroup{{middle, whole.layers.end()}, whole.candidates, 0});
      --g;
    }
    return absl::OkStatus();
  }

  bool Tied(const PendingGroup& group) const {
    return std::any_of(group.candidates.begin(), group.candidates.end(),
                       [this](int c) { return TiesWeights(input_.candidates[c].spec); });
  }

  client::Attempt Try(int index, int attempt, client::JobClient* client) {
    const PendingGroup& group = pending_[index];
    const Request request = RequestOf(group, JobId(run_id_, index, attempt));
    uint64_t bytes = 0;
    for (const absl::Span<const std::byte> part : request.bytes) bytes += part.size();
    client::CallOptions options;
    options.deadline = DeadlineFor(flags_.connection, group.seconds, bytes);
    Observer observer(index, SizeOf(group), display_.get());
    client::Attempt result = client->Measure(request.job, request.bytes, options, &observer);
    if (!result.failure.status.ok()) {
      result.failure.status =
          absl::Status(result.failure.status.code(),
                       absl::StrCat(NameOf(group), ": ", result.failure.status.message()));
    }
    return result;
  }

  absl::Status Take(int index, client::JobAnswer answer) {
    const PendingGroup& group = pending_[index];
    const size_t each = group.candidates.size();
    for (size_t k = 0; k < group.layers.size(); ++k) {
      const InputLayer& layer = input_.layers[group.layers[k]];
      LayerFrontier& frontier = frontiers_.at(layer.module);
      bool news = false;
      for (size_t i = 0; i < each; ++i) {
        const int c = group.candidates[i];
        const TensorReport& report = answer.candidates[k * each + i].report;
        QUANTD_RETURN_IF_ERROR(CheckSpecOf(report, c));
        if (layer.fits[c] == 0 || frontier.Find(layer.keys[c]) != nullptr) continue;
        frontier.candidates.push_back(MeasuredFrom(layer.keys[c], report));
        news = true;
      }
      if (news) QUANTD_RETURN_IF_ERROR(file_->Append(frontier));
      input_.checkpoint.Release(*layer.tensor);
      for (const Statistic& s : StatisticsOf(group, group.layers[k])) {
        input_.statistics->Release(s);
      }
    }
    display_->Done(static_cast<int>(group.layers.size()), SizeOf(group));
    return absl::OkStatus();
  }

  // Figures of another spec would be worse than none.
  absl::Status CheckSpecOf(const TensorReport& report, int candidate) const {
    const Spec& asked = input_.candidates[candidate].spec;
    if (IsAdaptive(asked) || SpecToJson(report.spec) == SpecToJson(asked)) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(report.name, ": the server measured ",
                                            SpecSummary(report.spec), " for ", SpecSummary(asked),
                                            ": client and server are of different versions"));
  }

  client::JobSize SizeOf(const PendingGroup& group) const {
    client::JobSize size = {0, group.seconds};
    for (const int l : group.layers) size.bytes += input_.layers[l].dense_bytes();
    return size;
  }

  std::string NameOf(const PendingGroup& group) const {
    return absl::StrCat(input_.layers[group.layers.front()].module,
                        group.layers.size() > 1 ? " and others" : "");
  }

  const PlanInput& input_;
  const PlanFlags& flags_;
  FrontierFile* const file_;
  Environment* const env_;
  const std::string run_id_ = NewRunId();
  std::map<std::string, LayerFrontier> frontiers_;
  std::vector<PendingGroup> pending_;
  std::unique_ptr<client::Connection> connection_;
  std::unique_ptr<ProgressDisplay> display_;
};

}  // namespace

absl::StatusOr<std::map<std::string, LayerFrontier>> MeasureFrontiers(const PlanInput& input,
                                                                      const PlanFlags& flags,
                                                                      FrontierFile* file,
                                                                      Environment* env) {
  return MeasureRun(input, flags, file, env).Run();
}

}  // namespace quantd::cli
