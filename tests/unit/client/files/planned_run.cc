#include "tests/unit/client/files/planned_run.h"

#include <cstdlib>
#include <iostream>
#include <optional>
#include <random>

#include "workers/core/float16.h"

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

PlannedRun::PlannedRun(const std::string& layout, const Spec& spec, const OutputOptions& options,
                       const SelectionOptions& selection) {
  WriteLlama(source_.path());
  layout_ = Must(FindLayout(layout));
  checkpoint_ = std::make_unique<Checkpoint>(Must(Checkpoint::Open(source_.path())));
  const Selection selected = Must(SelectTensors(
      *checkpoint_, selection,
      [&](const std::string&, int64_t, int64_t) { return std::optional<Spec>(spec); }, *layout_));
  plan_ = std::make_unique<OutputPlan>(
      Must(OutputPlan::ForQuantize(*checkpoint_, selected, *layout_, options)));
}

std::vector<PackedTensor> PlannedRun::Pack(int index) const {
  const PlannedModule& module = plan_->modules()[index];
  return PackWhole(*layout_, module.spec,
                   PatternCoded(module.spec, module.rows, module.cols, 100 + index));
}

Coded PatternCoded(const Spec& spec, int64_t m, int64_t n, uint64_t seed) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  Coded coded;
  coded.Reshape(spec, 0, m, n);
  const bool one = spec.partition.granularity == Granularity::kTensor;
  for (uint8_t& code : coded.codes) code = random() % (spec.levels.max_code() + 1);
  for (size_t i = 0; i < coded.scales.size(); ++i) {
    const float scale = static_cast<float>(1 + random() % 1000) / 512.0f;
    coded.scales[i] = one && i > 0 ? coded.scales[0] : RoundTo(spec.scale_dtype, scale);
    const int zero = static_cast<int>(random() % (spec.levels.max_code() + 1));
    coded.zeros[i] = spec.levels.symmetric() ? spec.levels.middle_code()
                     : one && i > 0          ? coded.zeros[0]
                                             : zero;
  }
  if (spec.solve.timing == GroupTiming::kDynamic && spec.solve.order == Order::kActOrder) {
    for (int64_t k = 0; k < n; ++k) {
      coded.group_of_column.push_back(static_cast<int32_t>((k * 7 + 3) % coded.groups));
    }
  }
  return coded;
}

std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec, const Coded& coded) {
  auto packed = Must(AllocatePacked(layout, spec, coded.rows, coded.cols));
  layout.PackShared(spec, coded.rows, coded.cols, coded.group_of_column, absl::MakeSpan(packed));
  layout.PackRows(coded, spec, coded.rows, absl::MakeSpan(packed));
  return packed;
}

}  // namespace quantd::testing
