#include "client/cli/plan_problem.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/statistics_choice.h"
#include "client/cli/text_table.h"
#include "client/files/csv_table.h"
#include "client/files/name_pattern.h"
#include "client/files/selection.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

// Of a tensor's entry in a safetensors header beside its name, and tensors of one packed layer;
// both at most.
constexpr uint64_t kEntryBytes = 150;
constexpr uint64_t kPackedTensors = 12;

constexpr double kNoBound = 1e9;

// Bounds on the bits of a layer's code.
struct BitRange {
  double least = 0;
  double most = kNoBound;
};

class Maker {
 public:
  Maker(const PlanInput& input, const std::map<std::string, LayerFrontier>& frontiers,
        const PlanFlags& flags)
      : input_(input), frontiers_(frontiers), flags_(flags) {}

  absl::StatusOr<PlanProblem> Run() {
    for (const Candidate& c : input_.candidates) out_.problem.candidates.push_back(c.name);
    ranges_.resize(input_.layers.size());
    QUANTD_RETURN_IF_ERROR(ReadBounds(
        "--min-bits", flags_.min_bits,
        [](double bits, BitRange* range) { range->least = std::max(range->least, bits); }));
    QUANTD_RETURN_IF_ERROR(ReadBounds(
        "--max-bits", flags_.max_bits,
        [](double bits, BitRange* range) { range->most = std::min(range->most, bits); }));
    for (size_t l = 0; l < input_.layers.size(); ++l) QUANTD_RETURN_IF_ERROR(AddLayer(l));
    QUANTD_RETURN_IF_ERROR(ReadSensitivities());
    AddFusedSets();
    QUANTD_RETURN_IF_ERROR(AddSameSets());
    TellWhatIsLeftOut();
    QUANTD_RETURN_IF_ERROR(SetGoal());
    return std::move(out_);
  }

 private:
  // Layers whose module the pattern is found in; INVALID_ARGUMENT where there are none.
  absl::StatusOr<std::vector<int>> Matching(absl::string_view flag,
                                            const std::string& pattern) const {
    const absl::StatusOr<NamePattern> compiled = NamePattern::Compile(pattern);
    if (!compiled.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(flag, ": ", compiled.status().message()));
    }
    std::vector<int> found;
    for (int l = 0; l < static_cast<int>(input_.layers.size()); ++l) {
      QUANTD_ASSIGN_OR_RETURN(const bool there, compiled->FindIn(input_.layers[l].module));
      if (there) found.push_back(l);
    }
    if (!found.empty()) return found;
    return absl::InvalidArgumentError(absl::StrCat(flag, ": \"", pattern, "\" matches none of the ",
                                                   input_.layers.size(),
                                                   " layers that are planned"));
  }

  template <typename F>
  absl::Status ReadBounds(absl::string_view flag, const std::vector<std::string>& texts, F bound) {
    for (const std::string& text : texts) {
      const size_t at = text.rfind('=');
      double bits = 0;
      if (at == std::string::npos || !absl::SimpleAtod(text.substr(at + 1), &bits) ||
          !(bits >= 0)) {
        return absl::InvalidArgumentError(absl::StrCat(flag, ": \"", text, "\" is not REGEX=BITS"));
      }
      QUANTD_ASSIGN_OR_RETURN(const std::vector<int> layers, Matching(flag, text.substr(0, at)));
      for (const int l : layers) bound(bits, &ranges_[l]);
    }
    return absl::OkStatus();
  }

  absl::Status AddLayer(size_t l) {
    const InputLayer& from = input_.layers[l];
    const BitRange& range = ranges_[l];
    PlanLayer layer;
    layer.name = from.module;
    layer.parameters = from.parameters();
    std::set<double> there;
    const auto add = [&](LayerOption option, double bits) {
      there.insert(bits);
      if (bits >= range.least && bits <= range.most) layer.options.push_back(option);
    };
    const auto frontier = frontiers_.find(from.module);
    for (int c = 0; c < static_cast<int>(input_.candidates.size()); ++c) {
      if (!from.excluded.empty() || from.fits[c] == 0) continue;
      const MeasuredCandidate* m =
          frontier->second.Find(KeyOf(input_.candidates[c].spec, input_.layout->name()));
      if (m->outcome != Outcome::kOk) {
        not_ok_.push_back(absl::StrCat(from.module, ", ", input_.candidates[c].name, ": ",
                                       OutcomeName(m->outcome), ": ", m->reason));
        continue;
      }
      (m->output_error.has_value() ? by_output_ : by_weight_) = true;
      add({c, m->bytes, m->error(), m->block}, m->code_bits);
    }
    const double stored =
        8.0 * static_cast<double>(from.dense_bytes()) / static_cast<double>(from.parameters());
    add({kDense, from.dense_bytes(), 0, 0}, stored);
    if (layer.options.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          from.module, ": --min-bits and --max-bits leave it nothing from ", range.least, " to ",
          range.most < kNoBound ? absl::StrCat(range.most) : "any number of",
          " bits; its candidates have ", absl::StrJoin(there, ", ")));
    }
    out_.problem.layers.push_back(std::move(layer));
    return absl::OkStatus();
  }

  absl::Status ReadSensitivities() {
    if (flags_.sensitivity.empty()) return absl::OkStatus();
    const std::string& path = flags_.sensitivity;
    QUANTD_ASSIGN_OR_RETURN(const CsvTable table, ReadCsv(path));
    const int module = table.Column("module"), column = table.Column("sensitivity");
    if (module < 0 || column < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--sensitivity: ", path, " has not the columns module and sensitivity"));
    }
    std::map<std::string, PlanLayer*> layers;
    for (PlanLayer& layer : out_.problem.layers) layers[layer.name] = &layer;
    for (size_t row = 0; row < table.rows.size(); ++row) {
      QUANTD_ASSIGN_OR_RETURN(const double value, NumberAt(table, row, column, path));
      const auto it = layers.find(table.rows[row][module]);
      if (it == layers.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "--sensitivity: ", path, ":", table.lines[row], ": \"", table.rows[row][module],
            "\" is none of the ", layers.size(),
            " layers that are planned, the first of which is \"", layers.begin()->first, "\""));
      }
      if (value < 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "--sensitivity: ", path, ":", table.lines[row], ": ", value, " is below 0"));
      }
      it->second->sensitivity = value;
    }
    return absl::OkStatus();
  }

  void AddFusedSets() {
    std::map<std::string, std::vector<int>> sets;
    for (int l = 0; l < static_cast<int>(input_.layers.size()); ++l) {
      if (!input_.layers[l].excluded.empty()) continue;
      const std::vector<std::string> set = FusedSet(input_.layers[l].module);
      if (!set.empty()) sets[set.front()].push_back(l);
    }
    for (auto& [name, set] : sets) {
      if (set.size() > 1) out_.problem.same.push_back(std::move(set));
    }
  }

  absl::Status AddSameSets() {
    for (const std::string& pattern : flags_.same) {
      QUANTD_ASSIGN_OR_RETURN(std::vector<int> set, Matching("--same", pattern));
      if (set.size() > 1) out_.problem.same.push_back(std::move(set));
    }
    return absl::OkStatus();
  }

  void TellWhatIsLeftOut() {
    if (!not_ok_.empty()) {
      out_.notes.push_back(absl::StrCat(not_ok_.size(),
                                        " of the measured candidates did not end "
                                        "OK and are not taken:",
                                        Listed(not_ok_)));
    }
    out_.error_of = by_output_ && by_weight_
                        ? "layer outputs, weights where there are no statistics"
                    : by_output_ ? "layer outputs"
                                 : "weights";
  }

  absl::Status SetGoal() {
    PlanGoal& goal = out_.problem.goal;
    double parameters = 0;
    for (const PlanLayer& layer : out_.problem.layers) {
      parameters += static_cast<double>(layer.parameters);
    }
    if (flags_.budget_bits) {
      goal.kind = GoalKind::kBytes;
      goal.bytes = static_cast<uint64_t>(*flags_.budget_bits * parameters / 8);
      out_.goal = absl::StrCat(absl::StrFormat("%g", *flags_.budget_bits), " bits a weight");
    } else if (flags_.size) {
      const uint64_t other = input_.other_bytes + HeaderBound(input_);
      if (*flags_.size <= other) {
        return absl::OutOfRangeError(absl::StrCat(
            "--size: ", HumanBytes(*flags_.size), " are taken up by what is not planned alone: ",
            HumanBytes(other), " of embeddings, norms and other tensors"));
      }
      goal.kind = GoalKind::kBytes;
      goal.bytes = *flags_.size - other;
      out_.goal = absl::StrCat(HumanBytes(*flags_.size), " for the whole model");
    } else if (flags_.max_error) {
      goal.kind = GoalKind::kError;
      goal.error = *flags_.max_error;
      out_.goal = absl::StrCat("error ", ErrorNumber(goal.error));
    } else {
      if (input_.candidates.size() > 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("a share in low precision speaks of one candidate, and there are ",
                         input_.candidates.size(), "; name one with --candidates"));
      }
      goal.kind = GoalKind::kLowShare;
      goal.low_share = *flags_.low_share;
      out_.goal = absl::StrFormat("Q_r %g", goal.low_share);
    }
    return absl::OkStatus();
  }

  const PlanInput& input_;
  const std::map<std::string, LayerFrontier>& frontiers_;
  const PlanFlags& flags_;
  PlanProblem out_;
  std::vector<BitRange> ranges_;     // by layer
  std::vector<std::string> not_ok_;  // candidates that are not taken
  bool by_output_ = false, by_weight_ = false;
};

}  // namespace

uint64_t HeaderBound(const PlanInput& input) {
  uint64_t bytes = 1 << 10;
  for (const CheckpointTensor& tensor : input.checkpoint.tensors()) {
    bytes += tensor.name().size() + kEntryBytes;
  }
  for (const InputLayer& layer : input.layers) {
    bytes += (kPackedTensors - 1) * (layer.module.size() + kEntryBytes);
  }
  return bytes;
}

absl::StatusOr<PlanProblem> MakePlanProblem(const PlanInput& input,
                                            const std::map<std::string, LayerFrontier>& frontiers,
                                            const PlanFlags& flags) {
  return Maker(input, frontiers, flags).Run();
}

}  // namespace quantd::cli
