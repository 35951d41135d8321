// plain: our own layout, which holds everything a Spec can say, in simple tensors.
//
// Which tensors there are follows from the spec: plain_codes.h, plain_parameters.h, plain_tables.h,
// plain_additive.h, plain_shared.h and plain_exceptions.h declare and fill them, in this order, and
// column_scale.h the last. Byte pictures and reasons: FORMAT.plain.md.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/pack/layout.h"

namespace quantd {

class PlainLayout final : public Layout {
 public:
  absl::string_view name() const override { return "plain"; }
  absl::Status Accepts(const Spec& spec, int64_t m, int64_t n) const override;
  std::vector<PackedDecl> Declare(const Spec& spec, int64_t m, int64_t n) const override;
  int64_t StripeGranule(const Spec& spec) const override;
  void PackShared(const Spec& spec, int64_t m, int64_t n, const CodedShared& shared,
                  absl::Span<PackedTensor> out) const override;
  void PackRows(const Coded& coded, const Spec& spec, int64_t m,
                absl::Span<PackedTensor> out) const override;
  absl::Status PackOutliers(const OutlierTable& outliers, const Spec& spec, int64_t m,
                            absl::Span<PackedTensor> out) const override;
  absl::StatusOr<CodedShared> UnpackShared(const Spec& spec, int64_t m, int64_t n,
                                           absl::Span<const PackedView> in) const override;
  absl::Status UnpackRows(const Spec& spec, int64_t m, int64_t n, absl::Span<const PackedView> in,
                          const CodedShared& shared, int64_t row_begin, int64_t rows,
                          Coded* out) const override;
};

}  // namespace quantd
