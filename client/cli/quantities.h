// Quantities as people type them.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd::cli {

// All: INVALID_ARGUMENT showing the text and what is wanted.

absl::StatusOr<double> ParseNumber(absl::string_view text);    // finite: "32", "1e-3"
absl::StatusOr<double> ParseShare(absl::string_view text);     // 0..1: "0.9", "0.5%"
absl::StatusOr<double> ParseBits(absl::string_view text);      // (0, 64]: "4", "4.25bpw"
absl::StatusOr<uint64_t> ParseBytes(absl::string_view text);   // "3.5GB", "900MB", "2GiB", "12345"
absl::StatusOr<double> ParseBillions(absl::string_view text);  // "7B", "500M", "7000000000" -> 7
// A rise of the loss in nats: "0.05", or a rise of the perplexity, "5%".
absl::StatusOr<double> ParseDelta(absl::string_view text);

}  // namespace quantd::cli
