// AQLM checkpoints: additive codes, one byte or two each, over codebooks that the weight shares.
//
//   .codes      I8 or I16  [m / out_group, n / in_group, M]       wrapped by 2^B
//   .codebooks  F16        [M, 2^B, out_group, in_group]
//   .scales     F16        [m / out_group, 1, 1, 1]
//
// Byte pictures, limits and reasons: FORMAT.aqlm.md.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/pack/layout.h"

namespace quantd {

class AqlmLayout final : public Layout {
 public:
  absl::string_view name() const override { return "aqlm"; }
  absl::Status Accepts(const Spec& spec, int64_t m, int64_t n) const override;
  std::vector<PackedDecl> Declare(const Spec& spec, int64_t m, int64_t n) const override;
  int64_t StripeGranule(const Spec& spec) const override;
  void PackShared(const Spec& spec, int64_t m, int64_t n, const CodedShared& shared,
                  absl::Span<PackedTensor> out) const override;
  void PackRows(const Coded& coded, const Spec& spec, int64_t m,
                absl::Span<PackedTensor> out) const override;
  absl::StatusOr<CodedShared> UnpackShared(const Spec& spec, int64_t m, int64_t n,
                                           absl::Span<const PackedView> in) const override;
  absl::Status UnpackRows(const Spec& spec, int64_t m, int64_t n, absl::Span<const PackedView> in,
                          const CodedShared& shared, int64_t row_begin, int64_t rows,
                          Coded* out) const override;
};

}  // namespace quantd
