// The specs that a plan chooses from, as users write them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/spec_choice.h"
#include "workers/core/spec.h"

namespace quantd::cli {

struct Candidate {
  std::string name;  // "gptq:bits=3,group-size=64"; one of its own for every candidate of a list
  SpecChoice choice;
  Spec spec;  // resolved
};

// "METHOD[:KEY=VALUE[|VALUE...][,...]][; ...]": every combination of the values, in the order
// written. INVALID_ARGUMENT as SetFields and ResolveSpec, for two candidates with the same spec,
// for more than 256, and for none.
absl::StatusOr<std::vector<Candidate>> ParseCandidates(const std::vector<std::string>& texts);

// What is tried where the user names nothing. For a size: widths and group sizes of one method,
// gptq with statistics and rtn with shrink search without. For a share in low precision: mxint4 in
// blocks of 32, the format of the scaling law.
std::vector<std::string> DefaultCandidates(bool with_statistics, bool for_low_share);

// Weights of a `rows` x `cols` layer that share one scale under `spec`, nothing adaptive in it.
int64_t BlockOf(const Spec& spec, int64_t rows, int64_t cols);

}  // namespace quantd::cli
