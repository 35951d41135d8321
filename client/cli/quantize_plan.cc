#include "client/cli/quantize_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/job_runs.h"
#include "client/cli/spec_text.h"
#include "client/cli/statistics_choice.h"
#include "client/files/durable_file.h"
#include "client/files/late_sizes.h"
#include "client/files/spec_json.h"
#include "workers/core/digest.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd::cli {
namespace {

// A request holds at most 256 tensors, and a lost connection costs the whole request.
constexpr size_t kMaxModulesPerGroup = 32;

// Group sizes that divide n, largest first: what a user could ask for instead.
std::string DividingSizes(int64_t n) {
  std::vector<int64_t> sizes;
  for (int64_t g = std::min<int64_t>(n, 1024); g >= 16 && sizes.size() < 4; --g) {
    if (n % g == 0) sizes.push_back(g);
  }
  return sizes.empty() ? "\"row\"" : absl::StrCat(absl::StrJoin(sizes, ", "), " or \"row\"");
}

// Of which dimension groups are cut, for messages; empty where group_size fits.
std::string Undivided(const Spec& spec, int64_t rows, int64_t cols) {
  const Partition& p = spec.partition;
  if (p.granularity != Granularity::kGroup || p.tail != TailPolicy::kReject) return "";
  const auto divides = [&](int64_t size) { return size % p.group_size == 0; };
  const bool out = divides(cols);
  const bool in = divides(rows);
  const bool fits = p.axis == GroupAxis::kOut ? out : p.axis == GroupAxis::kIn ? in : out || in;
  if (fits) return "";
  const int64_t size = p.axis == GroupAxis::kIn ? rows : cols;
  return absl::StrCat("group-size: ", p.group_size, " does not divide ", size,
                      p.axis == GroupAxis::kIn ? " rows" : " columns",
                      "; fitting: ", DividingSizes(size), ", or --tail short-last-group");
}

// Chooses specs, and remembers the weights that a spec does not fit.
class Chooser {
 public:
  Chooser(const QuantizeFlags& flags, const Recipe& recipe, const Layout& layout)
      : flags_(flags), recipe_(recipe), layout_(layout) {}

  absl::StatusOr<std::optional<Spec>> operator()(const std::string& module, int64_t rows,
                                                 int64_t cols) {
    QUANTD_ASSIGN_OR_RETURN(std::optional<SpecChoice> choice, recipe_.For(module, flags_.spec));
    if (!choice) return std::optional<Spec>();
    absl::StatusOr<Spec> spec = ResolveSpec(*choice);
    if (!spec.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(module, ": ", spec.status().message()));
    }
    asked_[module] = true;
    if (std::string why = Undivided(*spec, rows, cols); !why.empty()) {
      unfit_[module] = std::move(why);
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
        absl::StrCat("the spec or the layout \"", layout_.name(), "\" does not fit ", count,
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
  const Layout& layout_;
  std::map<std::string, bool> asked_;
  std::map<std::string, std::string> unfit_;
};

// Modules with the same key travel together; empty: alone. Those that share scales do so with the
// layers that loaders fuse with them, and with no others.
std::string GroupKey(const TensorChoice& choice, const StatisticsKeys& keys) {
  const bool tied = TiesWeights(choice.spec);
  std::string partners;
  if (tied) {
    const std::vector<std::string> set = FusedSet(choice.module);
    partners = set.empty() ? choice.module : set.front();
  } else if (keys.shared.empty()) {
    return "";
  }
  return absl::StrCat(keys.shared, " ", choice.cols, " ", partners, " ",
                      WholeSpecToJson(choice.spec).dump());
}

// A path that is written out is meant to be there.
void WarnOfUnknownModules(const Recipe& recipe, QuantizePlan* plan) {
  for (const RecipeRule& rule : recipe.rules) {
    std::vector<std::string> unknown;
    for (const std::string& module : rule.modules) {
      if (plan->checkpoint.Find(module + ".weight") == nullptr) unknown.push_back(module);
    }
    if (unknown.empty() || unknown.size() == rule.modules.size()) continue;
    plan->selection.warnings.push_back(
        absl::StrCat("recipe rule ", rule.Title(), ": ", unknown.size(),
                     " are not in this checkpoint, the first is \"",
                     *std::min_element(unknown.begin(), unknown.end()), "\""));
  }
}

// What was given but speaks about no weight of this checkpoint: a misspelt name, most likely.
void WarnOfUnused(const Recipe& recipe, QuantizePlan* plan) {
  std::vector<std::string>& warnings = plan->selection.warnings;
  const std::vector<TensorChoice>& choices = plan->selection.choices;
  for (const RecipeRule& rule : recipe.rules) {
    const bool used = std::any_of(choices.begin(), choices.end(), [&rule](const TensorChoice& c) {
      return !c.module.empty() && rule.Speaks(c.module).value_or(false);
    });
    if (!used) {
      warnings.push_back(absl::StrCat("recipe rule ", rule.Title(), " matches no weight"));
    }
  }
  WarnOfUnknownModules(recipe, plan);
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

// Modules with the same key share a request; the rest go alone.
void FormGroups(const std::map<std::string, std::vector<Statistic>>& statistics,
                const std::map<std::string, std::string>& keys, QuantizePlan* plan) {
  std::map<std::string, size_t> open;
  for (int m = 0; m < static_cast<int>(plan->output->modules().size()); ++m) {
    const PlannedModule& module = plan->output->modules()[m];
    const std::string& key = keys.at(module.module);
    GroupPlan fresh;
    fresh.tied = TiesWeights(module.spec);
    for (const Statistic& statistic : statistics.at(module.module)) {
      if (IsOfOneWeight(statistic.role)) {
        plan->own_statistics[module.module].push_back(statistic);
      } else {
        fresh.statistics.push_back(statistic);
      }
    }
    auto it = key.empty() ? open.end() : open.find(key);
    if (it == open.end() || plan->groups[it->second].modules.size() >= kMaxModulesPerGroup) {
      open[key] = plan->groups.size();
      fresh.modules = {m};
      plan->groups.push_back(std::move(fresh));
    } else {
      plan->groups[it->second].modules.push_back(m);
    }
  }
}

// Kernels run a fused set with one tensor scale: members that travel apart get different ones.
void WarnOfTornSets(const std::map<std::string, std::string>& keys, QuantizePlan* plan) {
  for (const TensorChoice& choice : plan->selection.choices) {
    if (!choice.quantize || choice.spec.storage.kind != StorageKind::kE4M3) continue;
    for (const std::string& partner : FusedSet(choice.module)) {
      const auto it = keys.find(partner);
      if (it == keys.end() || it->second == keys.at(choice.module)) continue;
      plan->selection.warnings.push_back(
          absl::StrCat(choice.module, " and ", partner,
                       ": loaders want one tensor scale for both, but they differ in settings or "
                       "statistics and get one each"));
      return;
    }
  }
}

// Settles where column scales go. Only plain can store them; every other layout needs norms that
// take them all.
absl::Status PlanScales(const std::map<std::string, std::string>& keys, QuantizePlan* plan) {
  std::map<std::string, std::string> scaled;
  for (const TensorChoice& choice : plan->selection.choices) {
    if (choice.quantize && HasColumnScale(choice.spec)) {
      scaled[choice.module] = keys.at(choice.module);
    }
  }
  plan->folds = PlanFolds(plan->checkpoint, scaled);
  if (plan->folds.stored.empty() || plan->layout->name() == "plain") return absl::OkStatus();
  std::vector<std::string> lines;
  lines.reserve(plan->folds.stored.size());
  for (const auto& [module, why] : plan->folds.stored) {
    lines.push_back(absl::StrCat(module, ": ", why));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "layout ", plan->layout->name(), " has no place for the column scales of ", lines.size(),
      lines.size() == 1 ? " layer" : " layers",
      " that no norm can take. Use --layout plain, which stores them, or leave the layers out "
      "(--exclude, or skip or another method in a recipe):",
      Listed(lines)));
}

// The recipe's, or the first layout that can hold what the flags ask for; plain where column scales
// may have to be stored.
absl::StatusOr<const Layout*> ChooseLayout(const QuantizeFlags& flags, const Recipe& recipe) {
  if (!flags.layout.empty()) return FindLayout(flags.layout);
  if (!recipe.layout.empty()) return FindLayout(recipe.layout);
  QUANTD_ASSIGN_OR_RETURN(const Spec spec, ResolveSpec(Overlay(recipe.defaults, flags.spec)));
  if (HasColumnScale(spec)) return FindLayout("plain");
  // A weight whose sizes every group and every word divides.
  const bool groups = spec.partition.granularity == Granularity::kGroup;
  const int64_t size = 1024 * (groups ? std::min<int64_t>(spec.partition.group_size, 1024) : 1);
  for (const Layout* layout : AllLayouts()) {
    if (AcceptsAll(*layout, spec, size, size).ok()) return layout;
  }
  return FindLayout("plain");
}

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizePlan>> MakeQuantizePlan(const QuantizeFlags& flags,
                                                               const client::StopSource& stop) {
  Recipe recipe;
  if (!flags.recipe.empty()) {
    QUANTD_ASSIGN_OR_RETURN(recipe, ReadRecipe(flags.recipe));
  }
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, ChooseLayout(flags, recipe));
  QUANTD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(flags.model_dir));
  auto plan = std::make_unique<QuantizePlan>(std::move(checkpoint), layout);
  plan->checkpoint_seconds = flags.checkpoint_seconds;
  if (!flags.statistics.empty()) {
    QUANTD_ASSIGN_OR_RETURN(plan->statistics, Statistics::Open(flags.statistics));
  }

  Chooser chooser(flags, recipe, *layout);
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
  QUANTD_ASSIGN_OR_RETURN(auto statistics,
                          ChooseStatistics(plan->selection, plan->statistics.get()));

  OutputOptions options;
  options.max_shard_bytes = flags.max_shard_bytes;
  std::map<std::string, std::string> keys;
  for (const TensorChoice& choice : plan->selection.choices) {
    if (!choice.quantize) continue;
    if (stop.stopped()) return absl::CancelledError("stopped");
    QUANTD_ASSIGN_OR_RETURN(
        const StatisticsKeys found,
        KeysOf(plan->statistics.get(), choice.module, statistics.at(choice.module)));
    keys[choice.module] = GroupKey(choice, found);
    absl::StrAppend(&options.inputs, choice.module, "=", found.shared, found.own, "\n");
  }
  QUANTD_RETURN_IF_ERROR(PlanScales(keys, plan.get()));
  options.folds = plan->folds;
  WarnOfTornSets(keys, plan.get());
  if (plan->statistics != nullptr) absl::StrAppend(&options.inputs, plan->statistics->tokens());
  QUANTD_ASSIGN_OR_RETURN(
      OutputPlan output,
      OutputPlan::ForQuantize(plan->checkpoint, plan->selection, *layout, options));
  plan->output = std::make_unique<OutputPlan>(std::move(output));
  FormGroups(statistics, keys, plan.get());
  return plan;
}

int QuantizePlan::folded_modules() const {
  int count = 0;
  for (const Fold& fold : folds.folds) count += static_cast<int>(fold.modules.size());
  return count;
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
  for (int m : modules) {
    const auto own = plan.own_statistics.find(plan.output->modules()[m].module);
    if (own == plan.own_statistics.end()) continue;
    for (const Statistic& statistic : own->second) {
      add(*statistic.stored, statistic.role, plan.statistics->Bytes(statistic));
      request.job.tensors.back().of = plan.output->modules()[m].weight;
    }
  }
  request.job.id = job_id;
  request.job.spec = plan.output->modules()[modules.front()].spec;
  // The run's own policy is applied to the reports: a degraded layer is worth keeping until its
  // owner has decided.
  request.job.policy.on_degraded = OnDegraded::kAccept;
  request.job.layout = std::string(plan.layout->name());
  // The other solvers are done before a state would be due.
  if (request.job.spec.solve.solver == Solver::kBeam) {
    request.job.checkpoint_seconds = plan.checkpoint_seconds;
  }
  if (plan.statistics != nullptr && !statistics.empty()) {
    request.job.calibration_tokens = plan.statistics->tokens();
  }
  return request;
}

namespace {

std::string ShapesKey(const QuantizeJob& job) {
  std::string key = WholeSpecToJson(job.spec).dump();
  for (const TensorDecl& tensor : job.tensors) {
    absl::StrAppend(&key, " ", static_cast<int>(tensor.role), DTypeName(tensor.dtype),
                    ShapeString(tensor.shape));
  }
  return key;
}

// The server echoes the spec as it understands it.
bool SameSpec(const Spec& a, const Spec& b) { return WholeSpecToJson(a) == WholeSpecToJson(b); }

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
    if (!SameSpec(estimate.spec, request.job.spec)) {
      return absl::InternalError(absl::StrCat(name, ": the server understands the spec otherwise (",
                                              SpecSummary(estimate.spec), " for ",
                                              SpecSummary(request.job.spec),
                                              "): client and server are of different versions"));
    }
    if (!estimate.admissible && group.tied && group.modules.size() > 1) {
      return absl::FailedPreconditionError(absl::StrCat(
          name, " and ", group.modules.size() - 1,
          " more share scales and must travel together; they need ", estimate.peak_bytes,
          " bytes on the server, more than its whole budget of ", estimate.budget_bytes));
    }
    if (!estimate.admissible && group.modules.size() > 1) {
      const auto middle = group.modules.begin() + group.modules.size() / 2;
      plan->groups[g].modules.assign(group.modules.begin(), middle);
      plan->groups.insert(plan->groups.begin() + g + 1,
                          GroupPlan{{middle, group.modules.end()}, group.statistics, false});
      --g;
      continue;
    }
    if (!estimate.admissible) {
      return absl::FailedPreconditionError(absl::StrCat(
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
