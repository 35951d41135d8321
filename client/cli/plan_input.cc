#include "client/cli/plan_input.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "client/cli/frontier.h"
#include "client/cli/statistics_choice.h"
#include "client/files/fold.h"
#include "client/files/late_sizes.h"
#include "client/files/output_plan.h"
#include "client/files/quantization_config.h"
#include "client/files/selection.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd::cli {
namespace {

// A request holds at most 256 tensors, and a lost connection costs the whole request.
constexpr size_t kMaxLayersPerGroup = 16;

uint64_t Elements(const StoredTensor& tensor) {
  uint64_t elements = 1;
  for (const int64_t d : tensor.shape) elements *= static_cast<uint64_t>(d);
  return elements;
}

// OK if one folder of this layout can hold weights of every candidate side by side.
absl::Status HoldsTogether(const Layout& layout, const std::vector<Candidate>& candidates) {
  std::vector<ConfigModule> modules;
  for (const Candidate& c : candidates) {
    modules.push_back({c.name, 0, 0, c.spec, {}});
    if (!HasColumnScale(c.spec) || layout.name() == "plain") continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "layout ", layout.name(), ": candidate ", c.name,
        " has column scales, which another layout than plain holds only where a norm takes them; "
        "plan with --layout plain, or without this candidate"));
  }
  return MakeQuantizationConfig(layout.name(), modules, {}).status();
}

// The first layout that holds every candidate on a weight whose sizes everything divides.
absl::StatusOr<const Layout*> ChooseLayout(const PlanFlags& flags,
                                           const std::vector<Candidate>& candidates) {
  if (!flags.layout.empty()) {
    QUANTD_ASSIGN_OR_RETURN(const Layout* layout, FindLayout(flags.layout));
    QUANTD_RETURN_IF_ERROR(HoldsTogether(*layout, candidates));
    return layout;
  }
  constexpr int64_t kSize = int64_t{1} << 20;
  for (const Layout* layout : AllLayouts()) {
    const bool each = std::all_of(
        candidates.begin(), candidates.end(),
        [layout](const Candidate& c) { return AcceptsAll(*layout, c.spec, kSize, kSize).ok(); });
    if (each && HoldsTogether(*layout, candidates).ok()) return layout;
  }
  return FindLayout("plain");
}

class Builder {
 public:
  Builder(const PlanFlags& flags, const client::StopSource& stop, PlanInput* input)
      : flags_(flags), stop_(stop), input_(*input) {}

  absl::Status Run() {
    QUANTD_RETURN_IF_ERROR(CheckPatterns());
    for (size_t c = 0; c < input_.candidates.size(); ++c) QUANTD_RETURN_IF_ERROR(Select(c));
    QUANTD_RETURN_IF_ERROR(Collect());
    QUANTD_RETURN_IF_ERROR(CheckFits());
    for (InputLayer& layer : input_.layers) {
      if (stop_.stopped()) return absl::CancelledError("stopped");
      QUANTD_RETURN_IF_ERROR(Identify(&layer));
    }
    FormGroups();
    for (const std::vector<int>& group : input_.groups) NamePartners(group);
    return absl::OkStatus();
  }

 private:
  // Which weights candidate `c` fits, and what has to be sent for it.
  absl::Status Select(size_t c) {
    const Spec& spec = input_.candidates[c].spec;
    QUANTD_ASSIGN_OR_RETURN(Selection selection,
                            SelectTensors(
                                input_.checkpoint, {flags_.include, flags_.exclude},
                                [this, &spec](const std::string& module, int64_t rows,
                                              int64_t cols) -> absl::StatusOr<std::optional<Spec>> {
                                  asked_.insert(module);
                                  return Divides(spec, rows, cols) ? std::optional<Spec>(spec)
                                                                   : std::nullopt;
                                },
                                *input_.layout));
    absl::StatusOr<std::map<std::string, std::vector<Statistic>>> statistics =
        ChooseStatistics(selection, input_.statistics.get());
    if (!statistics.ok()) {
      return absl::Status(statistics.status().code(),
                          absl::StrCat("candidate ", input_.candidates[c].name, ": ",
                                       statistics.status().message()));
    }
    if (c == 0) {
      choices_ = std::move(selection.choices);
      fits_.assign(choices_.size(), std::vector<uint8_t>(input_.candidates.size(), 0));
      selection.choices = choices_;
    }
    for (size_t t = 0; t < choices_.size(); ++t) {
      fits_[t][c] = selection.choices[t].quantize ? 1 : 0;
      sent_[t].resize(input_.candidates.size());
      if (selection.choices[t].quantize) sent_[t][c] = statistics->at(choices_[t].module);
    }
    return absl::OkStatus();
  }

  // What patterns are told of; what loaders make of the layers that are chosen is quantize's to
  // tell.
  absl::Status CheckPatterns() {
    QUANTD_ASSIGN_OR_RETURN(
        Selection nothing,
        SelectTensors(
            input_.checkpoint, {flags_.include, flags_.exclude},
            [](const std::string&, int64_t, int64_t) -> absl::StatusOr<std::optional<Spec>> {
              return std::optional<Spec>();
            },
            *input_.layout));
    input_.warnings = std::move(nothing.warnings);
    return absl::OkStatus();
  }

  static bool Divides(const Spec& spec, int64_t rows, int64_t cols) {
    return !CandidatesOf(spec, rows, cols).empty() &&
           (IsAdaptive(spec) || spec.partition.granularity != Granularity::kGroup ||
            spec.partition.tail != TailPolicy::kReject ||
            (spec.partition.per_ic() ? rows : cols) % spec.partition.group_size == 0);
  }

  // Layers are linear weights of the model's body: those that some candidate fits, and those that
  // could be quantized but were left out by name or by shape.
  absl::Status Collect() {
    for (size_t t = 0; t < choices_.size(); ++t) {
      const CheckpointTensor& tensor = input_.checkpoint.tensors()[choices_[t].tensor];
      bool fits = false;
      for (const uint8_t fit : fits_[t]) fits |= fit != 0;
      bool ignored = false;
      const bool body =
          ReasonToKeep(*tensor.stored, input_.checkpoint.ModelType(), &ignored).empty();
      if (!body) {
        input_.other_parameters += Elements(*tensor.stored);
        input_.other_bytes += tensor.stored->size();
        continue;
      }
      InputLayer layer;
      layer.module = choices_[t].module;
      layer.tensor = &tensor;
      layer.rows = choices_[t].rows;
      layer.cols = choices_[t].cols;
      layer.fits = fits_[t];
      layer.statistics = sent_[t];
      if (!fits) {
        layer.left_out = !asked_.contains(layer.module);
        layer.kept = layer.left_out ? choices_[t].reason
                                    : absl::StrCat("no candidate fits its shape and the layout \"",
                                                   input_.layout->name(), "\"");
      }
      input_.layers.push_back(std::move(layer));
    }
    if (input_.layers.empty()) {
      return absl::InvalidArgumentError("no linear weight of this checkpoint can be planned");
    }
    return absl::OkStatus();
  }

  // A candidate that fits few layers, or none, should be no surprise in the end.
  absl::Status CheckFits() {
    int planned = 0;
    std::vector<int> fitting(input_.candidates.size(), 0);
    for (const InputLayer& layer : input_.layers) {
      planned += layer.left_out ? 0 : 1;
      for (size_t c = 0; c < fitting.size(); ++c) fitting[c] += layer.fits[c];
    }
    for (size_t c = 0; c < fitting.size(); ++c) {
      if (fitting[c] == planned) continue;
      std::string text =
          absl::StrCat("candidate ", input_.candidates[c].name, " fits ",
                       fitting[c] == 0 ? "none" : absl::StrCat(fitting[c]), " of ", planned,
                       " layers, by their shapes and the layout \"", input_.layout->name(), "\"");
      if (fitting[c] == 0) return absl::InvalidArgumentError(text);
      input_.warnings.push_back(std::move(text));
    }
    return absl::OkStatus();
  }

  // Digests of what decides a layer's figures, and by candidate the name of those.
  absl::Status Identify(InputLayer* layer) const {
    if (!layer->kept.empty()) return absl::OkStatus();
    layer->source = DigestOf(input_.checkpoint.Bytes(*layer->tensor));
    input_.checkpoint.Release(*layer->tensor);
    std::vector<Statistic> all;
    for (const std::vector<Statistic>& sent : layer->statistics) {
      all.insert(all.end(), sent.begin(), sent.end());
    }
    QUANTD_ASSIGN_OR_RETURN(const StatisticsKeys digests,
                            KeysOf(input_.statistics.get(), layer->module, all));
    layer->shared = digests.shared;
    for (size_t c = 0; c < input_.candidates.size(); ++c) {
      std::string key = KeyOf(input_.candidates[c].spec, input_.layout->name());
      for (const Statistic& s : layer->statistics[c]) {
        absl::StrAppend(&key, " ", RoleName(s.role), "=",
                        IsOfOneWeight(s.role) ? digests.own : digests.shared);
      }
      layer->keys.push_back(std::move(key));
    }
    return absl::OkStatus();
  }

  // Under a spec that ties weights, figures depend on who travels along.
  void NamePartners(const std::vector<int>& group) {
    for (size_t c = 0; c < input_.candidates.size(); ++c) {
      if (!TiesWeights(input_.candidates[c].spec)) continue;
      std::string partners = " with";
      for (const int l : group) {
        if (input_.layers[l].fits[c] == 0) continue;
        absl::StrAppend(&partners, " ", input_.layers[l].source.Hex());
      }
      for (const int l : group) absl::StrAppend(&input_.layers[l].keys[c], partners);
    }
  }

  // Layers that share statistics share their H; where a candidate ties weights (column scales, a
  // tensor scale) fused layers travel together, and with no others, as they do when they are
  // quantized.
  void FormGroups() {
    const bool ties = std::any_of(input_.candidates.begin(), input_.candidates.end(),
                                  [](const Candidate& c) { return TiesWeights(c.spec); });
    std::map<std::string, size_t> open;
    for (int l = 0; l < static_cast<int>(input_.layers.size()); ++l) {
      const InputLayer& layer = input_.layers[l];
      if (!layer.kept.empty()) continue;
      std::string partners;
      if (ties) {
        const std::vector<std::string> set = FusedSet(layer.module);
        partners = set.empty() ? layer.module : set.front();
      }
      const bool alone = !ties && layer.shared.empty();
      const std::string key =
          alone ? layer.module : absl::StrCat(layer.shared, " ", layer.cols, " ", partners);
      const auto it = open.find(key);
      if (it == open.end() || (!ties && input_.groups[it->second].size() >= kMaxLayersPerGroup)) {
        open[key] = input_.groups.size();
        input_.groups.push_back({l});
      } else {
        input_.groups[it->second].push_back(l);
      }
    }
  }

  const PlanFlags& flags_;
  const client::StopSource& stop_;
  PlanInput& input_;
  std::vector<TensorChoice> choices_;       // of the first candidate: names and shapes
  std::vector<std::vector<uint8_t>> fits_;  // [tensor][candidate]
  std::map<size_t, std::vector<std::vector<Statistic>>> sent_;  // by tensor, [candidate]
  absl::flat_hash_set<std::string> asked_;  // modules that no pattern leaves out
};

}  // namespace

uint64_t PlanInput::parameters() const {
  uint64_t sum = other_parameters;
  for (const InputLayer& layer : layers) sum += layer.parameters();
  return sum;
}

absl::StatusOr<std::unique_ptr<PlanInput>> MakePlanInput(const PlanFlags& flags,
                                                         const client::StopSource& stop) {
  const bool low_share = flags.low_share.has_value() || flags.max_loss.has_value();
  QUANTD_ASSIGN_OR_RETURN(
      std::vector<Candidate> candidates,
      ParseCandidates(flags.candidates.empty()
                          ? DefaultCandidates(!flags.statistics.empty(), low_share)
                          : flags.candidates));
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, ChooseLayout(flags, candidates));
  QUANTD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(flags.model_dir));
  QUANTD_RETURN_IF_ERROR(CheckUnquantized(checkpoint));
  auto input = std::make_unique<PlanInput>(std::move(checkpoint), layout);
  input->candidates = std::move(candidates);
  if (!flags.statistics.empty()) {
    QUANTD_ASSIGN_OR_RETURN(input->statistics, Statistics::Open(flags.statistics));
  }
  QUANTD_RETURN_IF_ERROR(Builder(flags, stop, input.get()).Run());
  return input;
}

}  // namespace quantd::cli
