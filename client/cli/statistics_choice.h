// Which statistics travel with a weight, and which are missing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/files/selection.h"
#include "client/files/statistics.h"

namespace quantd::cli {

// By module: what a request carries for each weight that is quantized. `statistics` may be null
// (nothing given). H goes with every weight that has one, needed or not. FAILED_PRECONDITION
// listing the weights whose method cannot do without a statistic that is not there, or whose
// codebooks would have to be given (FitKind::kGiven: programs send them, files of statistics hold
// none); errors of Statistics::For.
absl::StatusOr<std::map<std::string, std::vector<Statistic>>> ChooseStatistics(
    const Selection& selection, const Statistics* statistics);

// What decides whether two modules may share a request, and what of a module's own goes with it.
struct StatisticsKeys {
  std::string shared;  // empty: nothing to share
  std::string own;
};

// Reads the bytes of what is sent. `statistics` may be null where `sent` is empty.
absl::StatusOr<StatisticsKeys> KeysOf(const Statistics* statistics, const std::string& module,
                                      const std::vector<Statistic>& sent);

// Up to 20 lines, each on a new one and indented, then how many more.
std::string Listed(const std::vector<std::string>& lines);

}  // namespace quantd::cli
