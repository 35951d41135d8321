#include "client/cli/layer_table.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/spec_text.h"
#include "client/cli/text_table.h"
#include "workers/core/job.h"

namespace quantd::cli {

std::string LayerTable(const std::vector<LayerRecord>& records) {
  TextTable table({{"layer", true},
                   {"shape"},
                   {"method", true},
                   {"bits"},
                   {"bpw"},
                   {"of", true},
                   {"RTN error"},
                   {"error"},
                   {"SQNR dB"},
                   {"outcome", true}});
  for (const LayerRecord& record : records) {
    const TensorReport& r = record.report;
    const bool delivered = r.outcome != Outcome::kRejected;
    std::string outcome(OutcomeName(r.outcome));
    if (!r.reason.empty()) absl::StrAppend(&outcome, ": ", r.reason);
    table.AddRow({ModuleName(r.name), absl::StrCat(r.rows, "x", r.cols), r.spec.method,
                  BitsText(r.spec.levels),
                  delivered ? absl::StrFormat("%.3f", r.all_in_bits_per_weight) : "-",
                  r.error.output_relative_error ? "outputs" : "weights",
                  r.rtn_baseline ? ErrorNumber(r.rtn_baseline->relative_error()) : "-",
                  delivered ? ErrorNumber(r.error.relative_error()) : "-",
                  delivered ? absl::StrFormat("%.2f", r.error.sqnr_db) : "-", outcome});
  }
  return table.Text();
}

}  // namespace quantd::cli
