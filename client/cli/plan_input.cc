#include "client/cli/plan_input.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "client/cli/statistics_choice.h"
#include "client/files/fold.h"
#include "client/files/late_sizes.h"
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

// The first layout that holds every candidate on a weight whose sizes everything divides.
absl::StatusOr<const Layout*> ChooseLayout(const PlanFlags& flags,
                                           const std::vector<Candidate>& candidates) {
  if (!flags.layout.empty()) {
    for (const Candidate& c : candidates) {
      if (!HasColumnScale(c.spec) || flags.layout == "plain") continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "--layout ", flags.layout, ": candidate ", c.name,
          " has column scales, which another layout than plain holds only where a norm takes them; "
          "plan with --layout plain, or without this candidate"));
    }
    return FindLayout(flags.layout);
  }
  constexpr int64_t kSize = int64_t{1} << 20;
  for (const Layout* layout : AllLayouts()) {
    const bool all =
        std::all_of(candidates.begin(), candidates.end(), [layout](const Candidate& c) {
          return AcceptsAll(*layout, c.spec, kSize, kSize).ok() && !HasColumnScale(c.spec);
        });
    if (all) return layout;
  }
  return FindLayout("plain");
}

class Builder {
 public:
  Builder(const PlanFlags& flags, const client::StopSource& stop, PlanInput* input)
      : flags_(flags), stop_(stop), input_(*input) {}

  absl::Status Run() {
    for (size_t c = 0; c < input_.candidates.size(); ++c) QUANTD_RETURN_IF_ERROR(Select(c));
    QUANTD_RETURN_IF_ERROR(Collect());
    for (InputLayer& layer : input_.layers) {
      if (stop_.stopped()) return absl::CancelledError("stopped");
      QUANTD_RETURN_IF_ERROR(Identify(&layer));
    }
    FormGroups();
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
      if (!selection.choices[t].quantize) continue;
      for (const Statistic& s : statistics->at(choices_[t].module)) Add(s, &sent_[t]);
    }
    KeepCommonWarnings(c, std::move(selection.warnings));
    return absl::OkStatus();
  }

  // What is said of every candidate is about the model and the patterns. What loaders make of the
  // chosen ones is quantize's to tell.
  void KeepCommonWarnings(size_t c, std::vector<std::string> warnings) {
    std::vector<std::string>& kept = input_.warnings;
    if (c == 0) {
      kept = std::move(warnings);
      return;
    }
    kept.erase(std::remove_if(kept.begin(), kept.end(),
                              [&](const std::string& w) {
                                return std::find(warnings.begin(), warnings.end(), w) ==
                                       warnings.end();
                              }),
               kept.end());
  }

  static bool Divides(const Spec& spec, int64_t rows, int64_t cols) {
    return !CandidatesOf(spec, rows, cols).empty() &&
           (IsAdaptive(spec) || spec.partition.granularity != Granularity::kGroup ||
            spec.partition.tail != TailPolicy::kReject ||
            (spec.partition.per_ic() ? rows : cols) % spec.partition.group_size == 0);
  }

  static void Add(const Statistic& s, std::vector<Statistic>* list) {
    for (const Statistic& known : *list) {
      if (known.stored == s.stored) return;
    }
    list->push_back(s);
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
      layer.statistics = OneFormOfH(sent_[t]);
      if (!fits) {
        layer.excluded = asked_.contains(layer.module)
                             ? absl::StrCat("no candidate fits its shape and the layout \"",
                                            input_.layout->name(), "\"")
                             : choices_[t].reason;
      }
      input_.layers.push_back(std::move(layer));
    }
    if (input_.layers.empty()) {
      return absl::InvalidArgumentError("no linear weight of this checkpoint can be planned");
    }
    return absl::OkStatus();
  }

  // Activations tell all that H does; a request has one of the two.
  static std::vector<Statistic> OneFormOfH(std::vector<Statistic> sent) {
    const auto has = [&sent](Role role) {
      return std::any_of(sent.begin(), sent.end(),
                         [role](const Statistic& s) { return s.role == role; });
    };
    if (has(Role::kHessian) && has(Role::kActivations)) {
      sent.erase(std::remove_if(sent.begin(), sent.end(),
                                [](const Statistic& s) { return s.role == Role::kHessian; }),
                 sent.end());
    }
    return sent;
  }

  absl::Status Identify(InputLayer* layer) const {
    if (!layer->excluded.empty()) return absl::OkStatus();
    layer->source = DigestOf(input_.checkpoint.Bytes(*layer->tensor));
    input_.checkpoint.Release(*layer->tensor);
    QUANTD_ASSIGN_OR_RETURN(const StatisticsKeys keys,
                            KeysOf(input_.statistics.get(), layer->module, layer->statistics));
    layer->statistics_key = absl::StrCat(keys.shared, " ", keys.own);
    for (const Statistic& s : layer->statistics) {
      absl::StrAppend(&layer->statistics_key, " ", static_cast<int>(s.role));
    }
    return absl::OkStatus();
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
      if (!layer.excluded.empty()) continue;
      std::string partners;
      if (ties) {
        const std::vector<std::string> set = FusedSet(layer.module);
        partners = set.empty() ? layer.module : set.front();
      }
      const bool alone = !ties && layer.statistics.empty();
      const std::string key =
          alone ? layer.module : absl::StrCat(SharedKey(layer), " ", layer.cols, " ", partners);
      const auto it = open.find(key);
      if (it == open.end() || (!ties && input_.groups[it->second].size() >= kMaxLayersPerGroup)) {
        open[key] = input_.groups.size();
        input_.groups.push_back({l});
      } else {
        input_.groups[it->second].push_back(l);
      }
    }
  }

  static std::string SharedKey(const InputLayer& layer) {
    return layer.statistics_key.substr(0, layer.statistics_key.find(' '));
  }

  const PlanFlags& flags_;
  const client::StopSource& stop_;
  PlanInput& input_;
  std::vector<TensorChoice> choices_;              // of the first candidate: names and shapes
  std::vector<std::vector<uint8_t>> fits_;         // [tensor][candidate]
  std::map<size_t, std::vector<Statistic>> sent_;  // by tensor
  absl::flat_hash_set<std::string> asked_;         // modules that no pattern leaves out
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
  auto input = std::make_unique<PlanInput>(std::move(checkpoint), layout);
  input->candidates = std::move(candidates);
  if (!flags.statistics.empty()) {
    QUANTD_ASSIGN_OR_RETURN(input->statistics, Statistics::Open(flags.statistics));
  }
  QUANTD_RETURN_IF_ERROR(Builder(flags, stop, input.get()).Run());
  return input;
}

}  // namespace quantd::cli
