#include "tests/unit/client/files/planned_run.h"

#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <random>

#include "workers/core/spec_counts.h"
#include "workers/linalg/cluster_word.h"

namespace quantd::testing {
namespace {

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << "\n";
    std::abort();
  }
  return *std::move(value);
}

}  // namespace

Spec GroupSpec(int64_t group_size) {
  Spec spec;
  spec.method = "rtn";
  spec.partition.group_size = group_size;
  return spec;
}

Spec AdditiveSpec(int codebooks, int bits, int out_group, int in_group) {
  Spec spec;
  spec.method = "aqlm";
  spec.levels.kind = LevelKind::kAdditive;
  spec.levels.codebooks = codebooks;
  spec.levels.codebook_bits = bits;
  spec.levels.out_group = out_group;
  spec.levels.in_group = in_group;
  spec.partition.granularity = Granularity::kRow;
  return spec;
}

PlannedRun::PlannedRun(const std::string& layout, const Spec& spec, const OutputOptions& options,
                       const SelectionOptions& selection) {
  WriteLlama(source_.path());
  layout_ = Must(FindLayout(layout));
  checkpoint_ = std::make_unique<Checkpoint>(Must(Checkpoint::Open(source_.path())));
  const Selection selected = Must(SelectTensors(
      *checkpoint_, selection,
      [&](const std::string&, int64_t, int64_t) { return std::optional<Spec>(spec); }, *layout_));
  OutputOptions all = options;
  std::map<std::string, std::string> scaled;
  for (const TensorChoice& choice : selected.choices) {
    if (choice.quantize && HasColumnScale(choice.spec)) scaled[choice.module] = "together";
  }
  all.folds = PlanFolds(*checkpoint_, scaled);
  plan_ = std::make_unique<OutputPlan>(
      Must(OutputPlan::ForQuantize(*checkpoint_, selected, *layout_, all)));
}

std::vector<PackedTensor> PlannedRun::Pack(int index) const {
  return Pack(index, plan_->modules()[index].spec);
}

std::vector<PackedTensor> PlannedRun::Pack(int index, const Spec& outcome) const {
  const PlannedModule& module = plan_->modules()[index];
  return PackWhole(*layout_, outcome, PatternCoded(outcome, module.rows, module.cols, 100 + index));
}

namespace {

class Pattern {
 public:
  Pattern(const Spec& spec, int64_t m, int64_t n, uint64_t seed)
      : spec_(spec), m_(m), n_(n), random_(static_cast<uint32_t>(seed)) {}

  PatternWeight Make() {
    PatternWeight out;
    out.shared = std::make_unique<CodedShared>();
    FillShared(out.shared.get());
    out.coded.Reshape(spec_, 0, m_, m_, n_, out.shared.get());
    if (spec_.levels.additive()) {
      FillBooks(&out.coded, out.shared.get());
    } else {
      FillCodes(&out.coded);
    }
    FillParameters(&out.coded);
    FillExceptions(&out.coded);
    return out;
  }

 private:
  int Below(int limit) { return static_cast<int>(random_() % limit); }
  // A number that every storage holds exactly.
  float Number() { return static_cast<float>(8 + Below(120)) / 64.0f; }
  int8_t Sign() { return Below(2) == 0 ? int8_t{1} : int8_t{-1}; }

  void FillShared(CodedShared* shared) {
    const bool dynamic = spec_.solve.timing == GroupTiming::kDynamic &&
                         spec_.solve.order == Order::kActOrder &&
                         spec_.solve.solver == Solver::kGptq;
    const int64_t groups = spec_.partition.GroupsPerRow(n_);
    if (dynamic && groups > 1 && !spec_.partition.per_ic()) {
      for (int64_t k = 0; k < n_; ++k) {
        shared->group_of_column.push_back(static_cast<int32_t>((k * 7 + 3) % groups));
      }
    }
    shared->tensor_scale = 0.375f;
    shared->scale_offset = 0.5f;
    if (spec_.levels.kind == LevelKind::kLearnedTable &&
        spec_.partition.granularity == Granularity::kTensor) {
      for (int i = 0; i <= spec_.levels.max_code(); ++i) shared->table.push_back(i * 0.25f - 1.0f);
    }
    if (spec_.allocation.kind == AllocationKind::kColumnScore) {
      shared->column_bits.assign(n_, static_cast<uint8_t>(spec_.levels.bits));
      for (int64_t i = 0; i < HighBitColumns(spec_.allocation, n_); ++i) {
        shared->column_bits[n_ - 1 - 2 * i] = static_cast<uint8_t>(spec_.allocation.high_bits);
      }
    }
    for (int64_t i = 0; i < KeptColumns(spec_.exceptions, n_); ++i) {
      shared->kept_columns.push_back(static_cast<int32_t>(3 * i + 1));
    }
    if (spec_.transform.scaling != ScalingKind::kNone) {
      for (int64_t k = 0; k < n_; ++k) shared->column_scale.push_back(Number());
    }
    if (spec_.transform.rotation != RotationKind::kNone) {
      for (int64_t k = 0; k < n_; ++k) shared->input_signs.push_back(Sign());
    }
    if (spec_.transform.rotation == RotationKind::kBoth) {
      for (int64_t r = 0; r < m_; ++r) shared->output_signs.push_back(Sign());
    }
  }

  void FillBooks(Coded* out, CodedShared* shared) {
    const Levels& levels = spec_.levels;
    shared->codebooks.resize(levels.codebooks * levels.entries() * levels.out_group *
                             levels.in_group);
    for (float& number : shared->codebooks) number = Number() - 1.0f;
    for (uint16_t& code : out->book_codes) {
      code = static_cast<uint16_t>(Below(static_cast<int>(levels.entries())));
    }
  }

  void FillCodes(Coded* out) {
    for (int64_t r = 0; r < m_; ++r) {
      for (int64_t k = 0; k < n_; ++k) {
        const int bits =
            out->shared->column_bits.empty() ? spec_.levels.bits : out->shared->column_bits[k];
        uint8_t code = static_cast<uint8_t>(Below(1 << bits));
        // E4M3 and E5M2 have codes that stand for no number.
        if (spec_.levels.kind == LevelKind::kMinifloat && bits == 8) code &= 0xB7;
        if (spec_.levels.kind == LevelKind::kCluster) code = static_cast<uint8_t>(Below(4));
        out->codes[r * n_ + k] = code;
      }
      for (int64_t k = 0; spec_.levels.kind == LevelKind::kCluster && k + 3 <= n_; k += 3) {
        ClusterCodes(static_cast<uint8_t>(Below(kClusterWords)), &out->codes[r * n_ + k]);
      }
    }
  }

  void FillParameters(Coded* out) {
    const bool one = spec_.partition.granularity == Granularity::kTensor;
    for (size_t i = 0; i < out->scales.size(); ++i) {
      out->scales[i] = one && i > 0 ? out->scales[0] : Number();
    }
    for (size_t i = 0; i < out->zeros.size(); ++i) {
      out->zeros[i] = spec_.levels.symmetric() ? spec_.levels.middle_code()
                      : one && i > 0           ? out->zeros[0]
                                     : static_cast<uint8_t>(Below(1 << spec_.levels.bits));
    }
    for (float& zero : out->real_zeros) zero = Number() * 4.0f;
    const bool integer =
        spec_.storage.kind == StorageKind::kInt || spec_.storage.kind == StorageKind::kTable;
    for (uint8_t& code : out->scale_codes) {
      code = static_cast<uint8_t>(integer ? Below(1 << spec_.storage.bits) : 96 + Below(30));
    }
    for (uint8_t& code : out->zero_codes) {
      code = static_cast<uint8_t>(Below(1 << spec_.storage.bits));
    }
    for (float& number : out->super) number = Number();
    const int64_t width = out->levels.table_numbers();
    for (size_t i = 0; i < out->tables.size(); ++i) {
      const bool ascending = spec_.levels.kind == LevelKind::kLearnedTable;
      out->tables[i] = ascending ? static_cast<float>(i % width) / 8.0f - 1.0f : Number();
    }
    if (!out->shared->column_bits.empty()) {
      // What a column of fewer bits does not use repeats its last entry.
      for (int64_t g = 0; g < out->param_rows * out->groups; ++g) {
        const int64_t own = int64_t{1} << out->shared->column_bits[g % out->groups];
        for (int64_t i = own; i < width; ++i) {
          out->tables[g * width + i] = out->tables[g * width + own - 1];
        }
      }
    }
  }

  void FillExceptions(Coded* out) {
    const int64_t kept = static_cast<int64_t>(out->shared->kept_columns.size());
    for (int64_t i = 0; i < m_ * kept; ++i) out->kept.push_back(Number());
    for (int64_t i = 0; i < RecentRows(spec_.exceptions, m_) * n_; ++i) {
      out->recent.push_back(Number());
    }
    if (!spec_.exceptions.stores_outliers()) return;
    const int64_t most = MaxOutliers(spec_.exceptions, m_, n_) / 2;
    out->outliers.begin.assign(1, 0);
    for (int64_t r = 0; r < m_; ++r) {
      if (static_cast<int64_t>(out->outliers.column.size()) < most && r % 3 != 1) {
        out->outliers.column.push_back(static_cast<int32_t>((r * 5) % n_));
        out->outliers.value.push_back(-Number());
      }
      out->outliers.begin.push_back(static_cast<int32_t>(out->outliers.column.size()));
    }
  }

  const Spec& spec_;
  const int64_t m_;
  const int64_t n_;
  std::mt19937 random_;
};

}  // namespace

PatternWeight PatternCoded(const Spec& spec, int64_t m, int64_t n, uint64_t seed) {
  return Pattern(spec, m, n, seed).Make();
}

std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec,
                                    const PatternWeight& weight) {
  const int64_t m = weight.coded.rows, n = weight.coded.cols;
  auto packed = Must(AllocatePacked(layout, spec, m, n));
  layout.PackShared(spec, m, n, *weight.shared, absl::MakeSpan(packed));
  layout.PackRows(weight.coded, spec, m, absl::MakeSpan(packed));
  if (spec.exceptions.stores_outliers()) {
    const absl::Status stored =
        layout.PackOutliers(weight.coded.outliers, spec, m, absl::MakeSpan(packed));
    if (!stored.ok()) Must(absl::StatusOr<int>(stored));
  }
  return packed;
}

}  // namespace quantd::testing
