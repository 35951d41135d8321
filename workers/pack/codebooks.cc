#include "workers/pack/codebooks.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/pack/layout.h"
#include "workers/pack/storable.h"

namespace quantd {

absl::Status CheckAdditive(absl::string_view layout, const Spec& spec, int64_t m, int64_t n) {
  const Levels& levels = spec.levels;
  const Partition& partition = spec.partition;
  const bool grouped = partition.granularity == Granularity::kGroup;
  if (!grouped && partition.granularity != Granularity::kRow) {
    return CannotStore(layout, "granularity", GranularityName(partition.granularity),
                       "row or group for additive levels");
  }
  if (partition.per_ic()) {
    return CannotStore(layout, "group-axis", GroupAxisName(partition.axis),
                       "groups along rows for additive levels");
  }
  if (grouped && partition.group_size != levels.in_group) {
    return CannotStore(layout, "group_size", absl::StrCat(partition.group_size),
                       absl::StrCat("the in-group, ", levels.in_group, ", for additive levels"));
  }
  if (NeedsGroupIndex(spec, n)) {
    return CannotStore(layout, "group timing", GroupTimingName(spec.solve.timing),
                       "groups of neighbouring columns for additive levels");
  }
  if (m % levels.out_group != 0 || n % levels.in_group != 0) {
    return CannotStore(
        layout, "shape", ShapeString({m, n}),
        absl::StrCat("whole patches of ", levels.out_group, " x ", levels.in_group,
                     " for out-group ", levels.out_group, " and in-group ", levels.in_group));
  }
  return absl::OkStatus();
}

int64_t AdditiveStripeGranule(const Levels& levels) {
  return std::lcm(Layout::kStripeGranule, int64_t{levels.out_group});
}

PackedDecl CodebooksDecl(const Levels& levels) {
  return {".codebooks",
          DType::kF16,
          {levels.codebooks, levels.entries(), levels.out_group, levels.in_group}};
}

void StoreCodebooks(const std::vector<float>& codebooks, PackedTensor* out) {
  uint16_t* stored = out->bytes.As<uint16_t>().data();
  for (size_t i = 0; i < codebooks.size(); ++i) stored[i] = ToF16(codebooks[i]);
}

absl::Status LoadCodebooks(const Levels& levels, const PackedView& in,
                           std::vector<float>* codebooks) {
  codebooks->resize(in.bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < codebooks->size(); ++i) {
    uint16_t half;
    std::memcpy(&half, in.bytes.data() + i * sizeof half, sizeof half);
    (*codebooks)[i] = FromF16(half);
    if (!std::isfinite((*codebooks)[i])) {
      const int64_t entry = static_cast<int64_t>(i) / (levels.out_group * levels.in_group);
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", in.decl.suffix, "': entry ", entry % levels.entries(), " of codebook ",
          entry / levels.entries(), " has ", (*codebooks)[i], ", not a finite number"));
    }
  }
  return absl::OkStatus();
}

}  // namespace quantd
