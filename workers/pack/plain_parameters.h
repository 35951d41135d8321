// Scales and zeros of the plain layout. P = rows of the parameter grid, G = its columns.
//
//   .scales       F16, BF16 or F32  [P, G]              storages f16, bf16, f32
//   .scale_codes  U8   [P, bytes of G codes]            coded storages: 8 bits a code; int and
//                                                       table: scale-bits
//   .zeros        U8   [P, G]                           asymmetric, integer zeros
//   .real_zeros   F16, BF16 or F32  [P, G]              asymmetric, real zeros; F16 beside codes
//   .zero_codes   U8   [P, bytes of G codes]            int with real zeros, not .real_zeros
//   .super        F16  [ceil(P / super_group), G, 2]    int: step and zero of the scales
//                                             ..., 4]   with real zeros: then step, zero of those
//   .super        F16  [P, 2^scale-bits]                table: the scales that codes name
//   .super        F32  [ceil(P G / 256)]                nested
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "workers/core/coded.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"

namespace quantd {

void DeclareParameters(const Spec& spec, int64_t m, int64_t n, std::vector<PackedDecl>* decls);

void StoreParameters(const Spec& spec, const Coded& coded, absl::Span<PackedTensor> out);

// Fills scales, zeros, real_zeros, scale_codes, zero_codes and super of `out`, whichever the spec
// has. INVALID_ARGUMENT naming tensor, row and group for a zero point above 2^bits - 1 and for a
// number that is not finite.
absl::Status LoadParameters(const Spec& spec, absl::Span<const PackedView> in, Coded* out);

}  // namespace quantd
