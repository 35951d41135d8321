#include "client/files/csv_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/files/model_folder.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CsvTableTest, ReadsCellsWithoutTheBlanksAroundThem) {
  const auto table = ParseCsv("# a comment\n\nname , value\r\na, 1\r\n\nb,  2.5e-1\n", "t.csv");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->columns, ElementsAre("name", "value"));
  EXPECT_THAT(table->rows, ElementsAre(ElementsAre("a", "1"), ElementsAre("b", "2.5e-1")));
  EXPECT_THAT(table->lines, ElementsAre(4, 6));
  EXPECT_EQ(table->Column("value"), 1);
  EXPECT_EQ(table->Column("other"), -1);
  EXPECT_EQ(*NumberAt(*table, 1, 1, "t.csv"), 0.25);
  EXPECT_EQ(NumberAt(*table, 0, 0, "t.csv").status().message(),
            "t.csv:4: name: \"a\" is not a number");
}

TEST(CsvTableTest, ASpreadsheetsByteOrderMarkIsNoPartOfAName) {
  EXPECT_EQ(ParseCsv("\xEF\xBB\xBFmodule,x\na,1\n", "t.csv")->Column("module"), 0);
}

TEST(CsvTableTest, MistakesNameTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "t.csv:1: there is no line"},
      {"# nothing\n", "there is no line"},
      {"a,b\n1\n", "t.csv:2: 1 cells under 2 columns"},
      {"a,b\n\n1,2,3\n", "t.csv:3: 3 cells under 2 columns"},
      {"a,a\n", "\"a\" stands here twice"},
      {"a,\n", "a column has no name"},
  };
  for (const auto& [text, said] : cases) {
    const auto table = ParseCsv(text, "t.csv");
    ASSERT_EQ(table.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(table.status().message()), HasSubstr(said)) << text;
  }
  EXPECT_FALSE(NumberAt(*ParseCsv("a\nnan\n", "t"), 0, 0, "t").ok());
  EXPECT_EQ(ReadCsv("/no/such.csv").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quantd
