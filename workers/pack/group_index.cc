#include "workers/pack/group_index.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quantd {

void StoreGroupIndex(const Spec& spec, int64_t n, absl::Span<const int32_t> group_of_column,
                     std::byte* out) {
  const int64_t group_columns = spec.partition.GroupColumns(n);
  for (int64_t k = 0; k < n; ++k) {
    const int32_t group =
        group_of_column.empty() ? static_cast<int32_t>(k / group_columns) : group_of_column[k];
    std::memcpy(out + k * sizeof group, &group, sizeof group);
  }
}

absl::Status LoadGroupIndex(const PackedView& in, Coded* out) {
  std::vector<int32_t>& index = out->group_of_column;
  index.resize(out->cols);
  std::memcpy(index.data(), in.bytes.data(), index.size() * sizeof(int32_t));
  bool natural = true;
  int64_t k = 0;
  for (int64_t g = 0; g < out->groups; ++g) {
    for (const int64_t end = std::min(out->cols, k + out->group_columns); k < end; ++k) {
      natural &= index[k] == g;
      if (index[k] < 0 || index[k] >= out->groups) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", in.decl.suffix, "': column ", k,
                                                       " is in group ", index[k], " of ",
                                                       out->groups));
      }
    }
  }
  if (natural) index.clear();
  return absl::OkStatus();
}

}  // namespace quantd
