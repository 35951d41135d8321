// plain: our own layout, which holds everything a Spec can say, in the simplest tensors.
//
//   .codes   U8   [m, ceil(n bits / 8)]   dense bits, each row begins on a byte
//   .scales  scale_dtype  [m, groups], [1, 1] for one scale per tensor
//   .zeros   U8   [m, groups] or [1, 1]   asymmetric only
//   .g_idx   I32  [n]                     only where groups are not runs of neighbouring columns
//
// Byte pictures and reasons: FORMAT.plain.md.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/pack/layout.h"

namespace quantd {

class PlainLayout final : public Layout {
 public:
  absl::string_view name() const override { return "plain"; }
  absl::Status Accepts(const Spec& spec, int64_t m, int64_t n) const override;
  std::vector<PackedDecl> Declare(const Spec& spec, int64_t m, int64_t n) const override;
  void PackShared(const Spec& spec, int64_t m, int64_t n, absl::Span<const int32_t> group_of_column,
                  absl::Span<PackedTensor> out) const override;
  void PackRows(const Coded& coded, const Spec& spec, int64_t m,
                absl::Span<PackedTensor> out) const override;
  absl::Status UnpackRows(const Spec& spec, int64_t m, int64_t n, absl::Span<const PackedView> in,
                          int64_t row_begin, int64_t rows, Coded* out) const override;
};

}  // namespace quantd
