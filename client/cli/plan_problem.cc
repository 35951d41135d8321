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
#include "workers/methods/check.h"

namespace quantd::cli {
namespace {

// Of a tensor's entry in a safetensors header beside its name, and tensors of one packed layer;
// both at most.
constexpr uint64_t kEntryBytes = 150;
constexpr uint64_t kPackedTensors = 12;

// Bits of a weight as it is stored.
double StoredBits(const InputLayer& layer) {
  return 8.0 * static_cast<double>(layer.dense_bytes()) / static_cast<double>(layer.parameters());
}

absl::Status NothingLeft(const InputLayer& layer, const BitRange& range,
                         const std::set<double>& there) {
  return absl::InvalidArgumentError(absl::StrCat(
      layer.module, ": --min-bits and --max-bits leave it nothing from ", range.least, " to ",
      range.most < BitRange().most ? absl::StrCat(range.most) : "any number of",
      " bits; its candidates have ", absl::StrJoin(there, ", ")));
}

class WishReader {
 public:
  WishReader(const PlanInput& input, const PlanFlags& flags) : input_(input), flags_(flags) {}

  absl::StatusOr<PlanWishes> Run() {
    out_.bits.resize(input_.layers.size());
    out_.sensitivities.assign(input_.layers.size(), 1.0);
    QUANTD_RETURN_IF_ERROR(ReadBounds(
        "--min-bits", flags_.min_bits,
        [](double bits, BitRange* range) { range->least = std::max(range->least, bits); }));
    QUANTD_RETURN_IF_ERROR(ReadBounds(
        "--max-bits", flags_.max_bits,
        [](double bits, BitRange* range) { range->most = std::min(range->most, bits); }));
    QUANTD_RETURN_IF_ERROR(CheckBounds());
    QUANTD_RETURN_IF_ERROR(ReadSensitivities());
    AddFusedSets();
    QUANTD_RETURN_IF_ERROR(AddSameSets());
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
      for (const int l : layers) bound(bits, &out_.bits[l]);
    }
    return absl::OkStatus();
  }

  // As far as it is known before a measurement: bits of adaptive specs come with it.
  absl::Status CheckBounds() const {
    for (size_t l = 0; l < input_.layers.size(); ++l) {
      const InputLayer& layer = input_.layers[l];
      std::set<double> there = {StoredBits(layer)};
      for (size_t c = 0; c < input_.candidates.size(); ++c) {
        if (layer.fits[c] == 0) continue;
        const Spec& spec = input_.candidates[c].spec;
        if (IsAdaptive(spec) || spec.allocation.by_column()) return absl::OkStatus();
        there.insert(spec.levels.additive() ? spec.levels.additive_bits() : spec.levels.bits);
      }
      const auto least = there.lower_bound(out_.bits[l].least);
      if (least == there.end() || *least > out_.bits[l].most) {
        return NothingLeft(layer, out_.bits[l], there);
      }
    }
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
    std::map<std::string, size_t> layers;
    for (size_t l = 0; l < input_.layers.size(); ++l) layers[input_.layers[l].module] = l;
    std::set<std::string> named;
    for (size_t row = 0; row < table.rows.size(); ++row) {
      const std::string& name = table.rows[row][module];
      const std::string where = absl::StrCat("--sensitivity: ", path, ":", table.lines[row], ": ");
      QUANTD_ASSIGN_OR_RETURN(const double value, NumberAt(table, row, column, path));
      const auto it = layers.find(name);
      if (it == layers.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            where, "\"", name, "\" is none of the ", layers.size(),
            " layers that are planned, the first of which is \"", layers.begin()->first, "\""));
      }
      if (value < 0) {
        return absl::InvalidArgumentError(absl::StrCat(where, value, " is below 0"));
      }
      if (!named.insert(name).second) {
        return absl::InvalidArgumentError(absl::StrCat(where, "\"", name, "\" stands there twice"));
      }
      out_.sensitivities[it->second] = value;
    }
    return absl::OkStatus();
  }

  void AddFusedSets() {
    std::map<std::string, std::vector<int>> sets;
    for (int l = 0; l < static_cast<int>(input_.layers.size()); ++l) {
      if (input_.layers[l].left_out) continue;
      const std::vector<std::string> set = FusedSet(input_.layers[l].module);
      if (!set.empty()) sets[set.front()].push_back(l);
    }
    for (auto& [name, set] : sets) {
      if (set.size() < 2) continue;
      for (const int l : set) {
        if (input_.layers[l].kept.empty()) continue;
        out_.notes.push_back(absl::StrCat(
            input_.layers[l].module, " and the ", set.size() - 1,
            " layers that loaders fuse with it stay as they are: ", input_.layers[l].kept));
      }
      out_.same.push_back(std::move(set));
    }
  }

  absl::Status AddSameSets() {
    for (const std::string& pattern : flags_.same) {
      QUANTD_ASSIGN_OR_RETURN(std::vector<int> set, Matching("--same", pattern));
      if (set.size() > 1) out_.same.push_back(std::move(set));
    }
    return absl::OkStatus();
  }

  absl::Status SetGoal() {
    PlanGoal& goal = out_.goal;
    double parameters = 0;
    for (const InputLayer& layer : input_.layers) {
      parameters += static_cast<double>(layer.parameters());
    }
    if (flags_.budget_bits) {
      goal.kind = GoalKind::kBytes;
      goal.bytes = static_cast<uint64_t>(*flags_.budget_bits * parameters / 8);
      out_.goal_text = absl::StrCat(absl::StrFormat("%g", *flags_.budget_bits), " bits a weight");
    } else if (flags_.size) {
      const uint64_t other = input_.other_bytes + HeaderBound(input_);
      if (*flags_.size <= other) {
        return absl::OutOfRangeError(absl::StrCat(
            "--size: ", HumanBytes(*flags_.size), " are taken up by what is not planned alone: ",
            HumanBytes(other), " of embeddings, norms and other tensors"));
      }
      goal.kind = GoalKind::kBytes;
      goal.bytes = *flags_.size - other;
      out_.goal_text = absl::StrCat(HumanBytes(*flags_.size), " for the whole model");
    } else if (flags_.max_error) {
      goal.kind = GoalKind::kError;
      goal.error = *flags_.max_error;
      out_.goal_text = absl::StrCat("error ", ErrorNumber(goal.error));
    } else {
      if (input_.candidates.size() > 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("a share in low precision speaks of one candidate, and there are ",
                         input_.candidates.size(), "; name one with --candidates"));
      }
      goal.kind = GoalKind::kLowShare;
      goal.low_share = *flags_.low_share;
      out_.goal_text = absl::StrFormat("Q_r %g", goal.low_share);
    }
    return absl::OkStatus();
  }

  const PlanInput& input_;
  const PlanFlags& flags_;
  PlanWishes out_;
};

class ProblemMaker {
 public:
  ProblemMaker(const PlanInput& input, const PlanWishes& wishes,
               const std::map<std::string, LayerFrontier>& frontiers)
      : input_(input), wishes_(wishes), frontiers_(frontiers) {}

  absl::StatusOr<PlanProblem> Run() {
    for (const Candidate& c : input_.candidates) out_.problem.candidates.push_back(c.name);
    for (size_t l = 0; l < input_.layers.size(); ++l) QUANTD_RETURN_IF_ERROR(AddLayer(l));
    out_.problem.same = wishes_.same;
    out_.problem.goal = wishes_.goal;
    out_.goal = wishes_.goal_text;
    if (!not_ok_.empty()) {
      out_.notes.push_back(absl::StrCat(not_ok_.size(),
                                        " of the measured candidates did not end OK and are not "
                                        "taken:",
                                        Listed(not_ok_)));
    }
    out_.error_of = by_output_ && by_weight_
                        ? "layer outputs, weights where there are no statistics"
                    : by_output_ ? "layer outputs"
                                 : "weights";
    return std::move(out_);
  }

 private:
  absl::Status AddLayer(size_t l) {
    const InputLayer& from = input_.layers[l];
    const BitRange& range = wishes_.bits[l];
    PlanLayer layer;
    layer.name = from.module;
    layer.parameters = from.parameters();
    layer.sensitivity = wishes_.sensitivities[l];
    std::set<double> there;
    const auto add = [&](LayerOption option, double bits) {
      there.insert(bits);
      if (bits >= range.least && bits <= range.most) layer.options.push_back(option);
    };
    for (int c = 0; c < static_cast<int>(input_.candidates.size()); ++c) {
      if (!from.kept.empty() || from.fits[c] == 0) continue;
      const MeasuredCandidate* m = frontiers_.at(from.module).Find(from.keys[c]);
      if (m->outcome != Outcome::kOk) {
        not_ok_.push_back(absl::StrCat(from.module, ", ", input_.candidates[c].name, ": ",
                                       OutcomeName(m->outcome), ": ", m->reason));
        continue;
      }
      (m->output_error.has_value() ? by_output_ : by_weight_) = true;
      add({c, m->bytes, m->error(), m->block}, m->code_bits);
    }
    add({kDense, from.dense_bytes(), 0, 0}, StoredBits(from));
    if (layer.options.empty()) return NothingLeft(from, range, there);
    out_.problem.layers.push_back(std::move(layer));
    return absl::OkStatus();
  }

  const PlanInput& input_;
  const PlanWishes& wishes_;
  const std::map<std::string, LayerFrontier>& frontiers_;
  PlanProblem out_;
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

absl::StatusOr<PlanWishes> ReadWishes(const PlanInput& input, const PlanFlags& flags) {
  return WishReader(input, flags).Run();
}

absl::StatusOr<PlanProblem> MakePlanProblem(const PlanInput& input, const PlanWishes& wishes,
                                            const std::map<std::string, LayerFrontier>& frontiers) {
  return ProblemMaker(input, wishes, frontiers).Run();
}

}  // namespace quantd::cli
