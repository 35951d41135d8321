#include "client/cli/text_table.h"

#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

TEST(TextTableTest, ColumnsAlignAndLinesHaveNoTrailingBlanks) {
  TextTable table({{"layer", true}, {"bits"}, {"why", true}});
  table.AddRow({"a", "4", "OK"});
  table.AddRow({"longer.name", "16"});
  EXPECT_EQ(table.Text(),
            "layer        bits  why\n"
            "-----------  ----  ---\n"
            "a               4  OK\n"
            "longer.name    16\n");
}

TEST(TextTableTest, NumbersReadWell) {
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1500), "1.50 kB");
  EXPECT_EQ(HumanBytes(2'000'000'000), "2.00 GB");
  EXPECT_EQ(HumanSeconds(0.421), "0.42 s");
  EXPECT_EQ(HumanSeconds(185), "3 min 05 s");
  EXPECT_EQ(HumanSeconds(7800), "2 h 10 min");
  EXPECT_EQ(HumanCount(7), "7");
  EXPECT_EQ(HumanCount(1234567), "1,234,567");
  EXPECT_EQ(HumanCount(123456), "123,456");
  EXPECT_EQ(ErrorNumber(0.00123456), "0.001235");
  EXPECT_EQ(ErrorNumber(0.0 / 0.0), "-");
}

}  // namespace
}  // namespace quantd::cli
