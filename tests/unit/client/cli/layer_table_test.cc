#include "client/cli/layer_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

TEST(LayerTableTest, ShowsBothErrorsAndTheReason) {
  LayerRecord ok;
  ok.report.name = "a.q_proj.weight";
  ok.report.outcome = Outcome::kOk;
  ok.report.rows = 8;
  ok.report.cols = 16;
  ok.report.all_in_bits_per_weight = 4.125;
  ok.report.error.output_relative_error = 0.0125;
  ok.report.rtn_baseline = ErrorMeasures();
  ok.report.rtn_baseline->output_relative_error = 0.025;
  ok.report.spec.method = "gptq";
  LayerRecord rejected = ok;
  rejected.report.name = "a.k_proj.weight";
  rejected.report.outcome = Outcome::kRejected;
  rejected.report.reason = "NaN at index 3";
  const std::string table = LayerTable({ok, rejected});
  EXPECT_THAT(table, HasSubstr("a.q_proj   8x16  gptq       4  4.125  outputs      0.025  0.0125"));
  EXPECT_THAT(table, HasSubstr("REJECTED: NaN at index 3"));
}

}  // namespace
}  // namespace quantd::cli
