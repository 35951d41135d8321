// The names of enum values as users, JSON and the wire spell them; index = number, [0] =
// unspecified.
#pragma once

#include "absl/strings/string_view.h"

namespace quantd {

inline constexpr absl::string_view kSymmetryNames[] = {
    "unspecified", "asymmetric", "symmetric-minmax", "symmetric-absmax", "symmetric-full-range"};
inline constexpr absl::string_view kLevelKindNames[] = {
    "unspecified",   "affine-int",    "minifloat", "fixed-table",
    "learned-table", "binary-coding", "cluster",   "additive"};
inline constexpr absl::string_view kZeroPointNames[] = {"unspecified", "integer", "real"};
inline constexpr absl::string_view kNumberFormatNames[] = {"unspecified", "e2m1", "e4m3",
                                                           "e5m2",        "e3m2", "e2m3"};
inline constexpr absl::string_view kFixedTableNames[] = {"unspecified", "nf4", "fp4"};
inline constexpr absl::string_view kGranularityNames[] = {"unspecified", "tensor", "row", "group",
                                                          "column"};
inline constexpr absl::string_view kGroupAxisNames[] = {"unspecified", "out", "in", "adaptive"};
inline constexpr absl::string_view kTailPolicyNames[] = {"unspecified", "reject",
                                                         "short-last-group"};
inline constexpr absl::string_view kFitKindNames[] = {
    "unspecified", "min-max",       "shrink-search",    "clip-search", "hqq",
    "k-means",     "binary-search", "residual-k-means", "given"};
inline constexpr absl::string_view kSeedingNames[] = {"unspecified", "random", "plus-plus",
                                                      "farthest"};
inline constexpr absl::string_view kImportanceNames[] = {"unspecified", "uniform", "diagonal",
                                                         "fisher"};
inline constexpr absl::string_view kStorageKindNames[] = {
    "unspecified", "f16", "bf16", "f32", "e8m0", "e4m3", "int", "nested", "table"};
inline constexpr absl::string_view kScaleRoundingNames[] = {"unspecified", "floor", "ceil", "rceil",
                                                            "even"};
inline constexpr absl::string_view kScalingKindNames[] = {"unspecified", "none", "awq", "smooth"};
inline constexpr absl::string_view kRotationKindNames[] = {"unspecified", "none", "input", "both"};
inline constexpr absl::string_view kCorrectionKindNames[] = {"unspecified", "none", "qep"};
inline constexpr absl::string_view kOutlierKindNames[] = {"unspecified", "none",         "range",
                                                          "fisher",      "range-fisher", "gradient",
                                                          "threshold",   "column-share"};
inline constexpr absl::string_view kAllocationKindNames[] = {"unspecified", "uniform",
                                                             "column-score", "round-off"};
inline constexpr absl::string_view kOrderNames[] = {"unspecified", "natural", "act-order",
                                                    "group-aware"};
inline constexpr absl::string_view kGroupTimingNames[] = {"unspecified", "static", "dynamic"};
inline constexpr absl::string_view kFactorizationNames[] = {"unspecified", "ldlq", "cholesky"};
inline constexpr absl::string_view kSolverNames[] = {"unspecified", "rtn", "gptq", "beam"};
inline constexpr absl::string_view kCodebookRuleNames[] = {"unspecified", "conjugate-gradients",
                                                           "adam"};
inline constexpr absl::string_view kAdamRuleNames[] = {"unspecified", "paper", "code"};

}  // namespace quantd
