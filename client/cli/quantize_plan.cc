#include "client/cli/quantize_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/job_runs.h"
#include "client/cli/report_json.h"
#include "client/files/durable_file.h"
#include "workers/core/digest.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

// A request holds at most 256 tensors, and a lost connection costs the whole request.
constexpr size_t kMaxModulesPerGroup = 32;
constexpr size_t kListed = 20;  // offending tensors named in one message

std::string Listed(const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < lines.size() && i < kListed; ++i) absl::StrAppend(&text, "\n  ", lines[i]);
  if (lines.size() > kListed)
    absl::StrAppend(&text, "\n  ... and ", lines.size() - kListed, " more");
  return text;
}

// Group sizes that divide n, largest first: what a user could ask for instead.
std::string DividingSizes(int64_t n) {
  std::vector<int64_t> sizes;
  for (int64_t g = std::min<int64_t>(n, 1024); g >= 16 && sizes.size() < 4; --g) {
    if (n % g == 0) sizes.push_back(g);
  }
  return sizes.empty() ? "\"row\"" : absl::StrCat(absl::StrJoin(sizes, ", "), " or \"row\"");
}

bool Divides(const Spec& spec, int64_t cols) {
  return spec.partition.granularity != Granularity::kGroup ||
         spec.partition.tail != TailPolicy::kReject || spec.partition.group_size >= cols ||
         cols % spec.partition.group_size == 0;
}

// Chooses specs, and remembers the weights that a spec does not fit.
class Chooser {
 public:
  Chooser(const QuantizeFlags& flags, const Recipe& recipe) : flags_(flags), recipe_(recipe) {}

  absl::StatusOr<std::optional<Spec>> operator()(const std::string& module, int64_t, int64_t cols) {
    QUANTD_ASSIGN_OR_RETURN(std::optional<SpecChoice> choice, recipe_.For(module, flags_.spec));
    if (!choice) return std::optional<Spec>();
    absl::StatusOr<Spec> spec = ResolveSpec(*choice);
    if (!spec.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(module, ": ", spec.status().message()));
    }
    asked_[module] = true;
    if (!Divides(*spec, cols)) {
      unfit_[module] =
          absl::StrCat("group-size: ", spec->partition.group_size, " does not divide ", cols,
                       " columns; fitting: ", DividingSizes(cols), ", or --tail short-last-group");
      return std::optional<Spec>();
    }
    return std::optional<Spec>(*std::move(spec));
  }

  // Corrects the reasons of what did not fit; INVALID_ARGUMENT with the list unless those may stay.
  absl::Status Judge(Selection* selection) {
    std::map<std::string, std::vector<std::string>> names;  // by reason
    size_t count = 0;
    for (TensorChoice& choice : selection->choices) {
      if (choice.quantize || !asked_.contains(choice.module)) continue;
      auto it = unfit_.find(choice.module);
      if (it != unfit_.end()) choice.reason = it->second;
      names[choice.reason].push_back(choice.name);
      ++count;
    }
    if (names.empty() || flags_.keep_unfit) return absl::OkStatus();
    std::string text =
        absl::StrCat("the spec or the layout \"", flags_.layout, "\" does not fit ", count,
                     count == 1 ? " weight" : " weights",
                     "; change it, name them with --exclude, or leave all such with --keep-unfit");
    for (const auto& [reason, weights] : names) {
      absl::StrAppend(&text, "\n", reason, ":", Listed(weights));
    }
    return absl::InvalidArgumentError(text);
  }

 private:
  const QuantizeFlags& flags_;
  const Recipe& recipe_;
  std::map<std::string, bool> asked_;
  std::map<std::string, std::string> unfit_;
};

// The statistic a request carries: H where there is one, else X.
std::vector<Statistic> Sent(const std::vector<Statistic>& all) {
  for (Role role : {Role::kHessian, Role::kActivations}) {
    for (const Statistic& statistic : all) {
      if (statistic.role == role) return {statistic};
    }
  }
  return {};
}

absl::StatusOr<std::map<std::string, std::vector<Statistic>>> FindStatistics(
    const QuantizeFlags& flags, const QuantizePlan& plan) {
  std::map<std::string, std::vector<Statistic>> found;
  std::vector<std::string> missing;
  for (const TensorChoice& choice : plan.selection.choices) {
    if (!choice.quantize) continue;
    std::vector<Statistic>& sent = found[choice.module];
    if (plan.statistics != nullptr) {
      QUANTD_ASSIGN_OR_RETURN(std::vector<Statistic> all,
                              plan.statistics->For(choice.module, choice.rows, choice.cols));
      sent = Sent(all);
    }
    if (sent.empty() && choice.spec.solve.solver == Solver::kGptq) missing.push_back(choice.name);
  }
  if (missing.empty()) return found;
  const std::string where =
      flags.statistics.empty()
          ? "give --statistics FILE.safetensors"
          : absl::StrCat("\"", flags.statistics, "\" has none for them: add them");
  return absl::FailedPreconditionError(
      absl::StrCat("method gptq needs <module>.hessian, .hessian_triangle or .activations; ", where,
                   ", leave the weights out with --exclude, or ask for method rtn in a recipe. "
                   "Without statistics: ",
                   missing.size(), missing.size() == 1 ? " weight" : " weights", Listed(missing)));
}

absl::StatusOr<std::string> StatisticsKey(const QuantizePlan& plan, const std::string& module,
                                          const std::vector<Statistic>& sent) {
  if (sent.empty()) return std::string();
  QUANTD_ASSIGN_OR_RETURN(Digest digest, plan.statistics->SharedDigest(module));
  for (const Statistic& statistic : sent) plan.statistics->Release(statistic);
  return digest.Hex();
}

// What was given but speaks about no weight of this checkpoint: a misspelt name, most likely.
void WarnOfUnused(const Recipe& recipe, QuantizePlan* plan) {
  std::vector<std::string>& warnings = plan->selection.warnings;
  const std::vector<TensorChoice>& choices = plan->selection.choices;
  for (const RecipeRule& rule : recipe.rules) {
    const bool used = std::any_of(choices.begin(), choices.end(), [&rule](const TensorChoice& c) {
      return !c.module.empty() && rule.match.FindIn(c.module).value_or(false);
    });
    if (!used) {
      warnings.push_back(absl::StrCat("recipe rule \"", rule.match.text(), "\" matches no weight"));
    }
  }
  if (plan->statistics == nullptr) return;
  const std::vector<std::string> modules = plan->statistics->Modules();
  std::vector<std::string> unused;
  for (const std::string& module : modules) {
    if (plan->checkpoint.Find(module + ".weight") == nullptr) unused.push_back(module);
  }
  if (unused.empty()) return;
  warnings.push_back(absl::StrCat("statistics of ", unused.size(), " of ", modules.size(),
                                  " modules match no weight, the first is \"", unused.front(),
                                  "\""));
}

// Modules with the same statistics and spec share a request; the rest go alone.
void FormGroups(const std::map<std::string, std::vector<Statistic>>& statistics,
                const std::map<std::string, std::string>& keys, QuantizePlan* plan) {
  std::map<std::string, size_t> open;
  for (int m = 0; m < static_cast<int>(plan->output->modules().size()); ++m) {
    const PlannedModule& module = plan->output->modules()[m];
    const std::string& digest = keys.at(module.module);
    const std::string key =
        absl::StrCat(digest, " ", module.cols, " ", SpecToJson(module.spec).dump());
    auto it = digest.empty() ? open.end() : open.find(key);
    if (it == open.end() || plan->groups[it->second].modules.size() >= kMaxModulesPerGroup) {
      open[key] = plan->groups.size();
      plan->groups.push_back({{m}, statistics.at(module.module)});
    } else {
      plan->groups[it->second].modules.push_back(m);
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizePlan>> MakeQuantizePlan(const QuantizeFlags& flags,
                                                               const client::StopSource& stop) {
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, FindLayout(flags.layout));
  Recipe recipe;
  if (!flags.recipe.empty()) {
    QUANTD_ASSIGN_OR_RETURN(recipe, ReadRecipe(flags.recipe));
  }
  QUANTD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(flags.model_dir));
  auto plan = std::make_unique<QuantizePlan>(std::move(checkpoint), layout);
  if (!flags.statistics.empty()) {
    QUANTD_ASSIGN_OR_RETURN(plan->statistics, Statistics::Open(flags.statistics));
  }

  Chooser chooser(flags, recipe);
  SelectionOptions selection{flags.include, flags.exclude};
  QUANTD_ASSIGN_OR_RETURN(plan->selection,
                          SelectTensors(plan->checkpoint, selection, std::ref(chooser), *layout));
  QUANTD_RETURN_IF_ERROR(chooser.Judge(&plan->selection));
  WarnOfUnused(recipe, plan.get());
  QUANTD_ASSIGN_OR_RETURN(plan->left_behind, LeftBehind(flags.model_dir));
  // Shards whose names are not the usual ones are not copied either, but their tensors are.
  for (const SafetensorsFile& shard : plan->checkpoint.shards()) {
    const std::string name = shard.path().substr(shard.path().rfind('/') + 1);
    auto& left = plan->left_behind;
    left.erase(std::remove(left.begin(), left.end(), name), left.end());
  }
  QUANTD_ASSIGN_OR_RETURN(auto statistics, FindStatistics(flags, *plan));

  OutputOptions options;
  options.max_shard_bytes = flags.max_shard_bytes;
  std::map<std::string, std::string> keys;
  for (const auto& [module, sent] : statistics) {
    if (stop.stopped()) return absl::CancelledError("stopped");
    QUANTD_ASSIGN_OR_RETURN(keys[module], StatisticsKey(*plan, module, sent));
    absl::StrAppend(&options.inputs, module, "=", keys[module], "\n");
  }
  if (plan->statistics != nullptr) absl::StrAppend(&options.inputs, plan->statistics->tokens());
  QUANTD_ASSIGN_OR_RETURN(
      OutputPlan output,
      OutputPlan::ForQuantize(plan->checkpoint, plan->selection, *layout, options));
  plan->output = std::make_unique<OutputPlan>(std::move(output));
  FormGroups(statistics, keys, plan.get());
  return plan;
}

GroupRequest MakeRequest(const QuantizePlan& plan, const std::vector<int>& modules,
                         const std::vector<Statistic>& statistics, const std::string& job_id) {
  GroupRequest request;
  const auto add = [&request](const StoredTensor& stored, Role role,
                              absl::Span<const std::byte> bytes) {
    request.job.tensors.push_back(DeclOf(stored, role));
    request.bytes.push_back(bytes);
  };
  for (int m : modules) {
    const CheckpointTensor* tensor = plan.checkpoint.Find(plan.output->modules()[m].weight);
    add(*tensor->stored, Role::kWeight, plan.checkpoint.Bytes(*tensor));
  }
  for (const Statistic& statistic : statistics) {
    add(*statistic.stored, statistic.role, plan.statistics->Bytes(statistic));
  }
  request.job.id = job_id;
  request.job.spec = plan.output->modules()[modules.front()].spec;
  // The run's own policy is applied to the reports: a degraded layer is worth keeping until its
  // owner has decided.
  request.job.policy.on_degraded = OnDegraded::kAccept;
  request.job.layout = std::string(plan.layout->name());
  if (plan.statistics != nullptr && !statistics.empty()) {
    request.job.calibration_tokens = plan.statistics->tokens();
  }
  return request;
}

namespace {

std::string ShapesKey(const QuantizeJob& job) {
  std::string key = SpecToJson(job.spec).dump();
  for (const TensorDecl& tensor : job.tensors) {
    absl::StrAppend(&key, " ", static_cast<int>(tensor.role), DTypeName(tensor.dtype),
                    ShapeString(tensor.shape));
  }
  return key;
}

bool SameStorage(const Spec& a, const Spec& b) {
  return a.method == b.method && a.levels.bits == b.levels.bits &&
         a.levels.symmetry == b.levels.symmetry &&
         a.partition.granularity == b.partition.granularity &&
         (a.partition.granularity != Granularity::kGroup ||
          a.partition.group_size == b.partition.group_size) &&
         a.scale_dtype == b.scale_dtype;
}

}  // namespace

absl::StatusOr<RunEstimate> EstimateRun(QuantizePlan* plan, client::Connection* connection) {
  std::map<std::string, client::JobEstimate> known;
  RunEstimate run;
  for (size_t g = 0; g < plan->groups.size(); ++g) {
    const GroupPlan group = plan->groups[g];
    const std::string& name = plan->output->modules()[group.modules.front()].weight;
    const GroupRequest request = MakeRequest(*plan, group.modules, group.statistics, "estimate");
    auto [it, fresh] = known.try_emplace(ShapesKey(request.job));
    if (fresh) {
      absl::StatusOr<client::JobEstimate> answer =
          client::Estimate(connection->channel(), request.job);
      if (!answer.ok()) {
        return absl::Status(answer.status().code(),
                            absl::StrCat(name, ": ", answer.status().message()));
      }
      it->second = *std::move(answer);
    }
    const client::JobEstimate& estimate = it->second;
    if (!SameStorage(estimate.spec, request.job.spec)) {
      return absl::InternalError(absl::StrCat(name, ": the server understands the spec otherwise (",
                                              SpecSummary(estimate.spec), " for ",
                                              SpecSummary(request.job.spec),
                                              "): client and server are of different versions"));
    }
    if (!estimate.admissible && group.modules.size() > 1) {
      const auto middle = group.modules.begin() + group.modules.size() / 2;
      plan->groups[g].modules.assign(group.modules.begin(), middle);
      plan->groups.insert(plan->groups.begin() + g + 1,
                          GroupPlan{{middle, group.modules.end()}, group.statistics});
      --g;
      continue;
    }
    if (!estimate.admissible) {
      return absl::ResourceExhaustedError(absl::StrCat(
          name, ": needs ", estimate.peak_bytes,
          " bytes on the server, more than its whole budget of ", estimate.budget_bytes));
    }
    run.upload_bytes += estimate.input_bytes;
    run.result_bytes += estimate.output_bytes;
    run.largest_peak_bytes = std::max(run.largest_peak_bytes, estimate.peak_bytes);
    run.budget_bytes = estimate.budget_bytes;
    run.seconds += estimate.seconds;
    run.group_seconds.push_back(estimate.seconds);
  }
  return run;
}

}  // namespace quantd::cli
