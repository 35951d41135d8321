#include "client/cli/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Names(const std::vector<std::string>& texts) {
  const absl::StatusOr<std::vector<Candidate>> list = ParseCandidates(texts);
  EXPECT_TRUE(list.ok()) << list.status();
  std::vector<std::string> names;
  if (list.ok()) {
    for (const Candidate& c : *list) names.push_back(c.name);
  }
  return names;
}

TEST(CandidatesTest, EveryCombinationInTheOrderWritten) {
  EXPECT_THAT(Names({"gptq:bits=3|4,group-size=64|row; nf4"}),
              ElementsAre("gptq:bits=3,group-size=64", "gptq:bits=3,group-size=row",
                          "gptq:bits=4,group-size=64", "gptq:bits=4,group-size=row", "nf4"));
  EXPECT_THAT(Names({"rtn:bits=8", " hqq "}), ElementsAre("rtn:bits=8", "hqq"));
  const Candidate row = (*ParseCandidates({"mxint4:group-size=row"}))[0];
  EXPECT_EQ(row.spec.partition.granularity, Granularity::kRow);
  EXPECT_EQ(row.spec.method, "mxint4");
}

TEST(CandidatesTest, BlocksOfTheScalingLawAreOfAnySize) {
  for (const char* method : {"mxint4", "mxfp4"}) {
    for (const char* size : {"16", "32", "64", "128", "256", "512", "row"}) {
      const auto list = ParseCandidates({std::string(method) + ":group-size=" + size});
      ASSERT_TRUE(list.ok()) << list.status();
      const Spec& spec = list->front().spec;
      EXPECT_EQ(spec.storage.kind, StorageKind::kE8M0);
      EXPECT_EQ(BlockOf(spec, 2048, 1024), std::string(size) == "row" ? 1024 : std::stoi(size));
    }
  }
}

TEST(CandidatesTest, BlocksCountTheWeightsUnderOneScale) {
  const auto block = [](const std::string& text) {
    return BlockOf((*ParseCandidates({text}))[0].spec, 96, 256);
  };
  EXPECT_EQ(block("rtn:group-size=64"), 64);
  EXPECT_EQ(block("rtn:group-size=512,tail=short-last-group"), 256);
  EXPECT_EQ(block("rtn:group-size=column"), 96);
  EXPECT_EQ(block("rtn:group-size=tensor"), 96 * 256);
  EXPECT_EQ(block("rtn:group-axis=in,group-size=32"), 32);
  EXPECT_EQ(block("aqlm:scheme=2x8"), 256);
}

TEST(CandidatesTest, MistakesNameTheCandidate) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "none are named"},
      {"gptq:bits=9", "9"},
      {"gptq:bits", "\"bits\" is not KEY=VALUE"},
      {"gptq:bits=3|", "is not KEY=VALUE"},
      {"nosuch", "nosuch"},
      {"gptq:colour=red", "colour"},
      {"gptq:bits=4; gptq:bits=4", "another candidate has the same spec"},
      {"gptq:bits=4; gptq", "another candidate has the same spec"},
      {"nf4:bits=3", "nf4:bits=3"},
      {"rtn:group-size=1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25|26|27|28|"
       "29|30|31|32|33|34|35|36|37|38|39|40|41|42|43,bits=2|3|4|5|6|7",
       "more than 256"},
  };
  for (const auto& [text, said] : cases) {
    const auto list = ParseCandidates({text});
    ASSERT_EQ(list.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(list.status().message()), HasSubstr(said)) << text;
  }
}

TEST(CandidatesTest, DefaultsParse) {
  for (const bool statistics : {false, true}) {
    EXPECT_EQ(Names(DefaultCandidates(statistics, false)).size(), 12u);
    EXPECT_THAT(Names(DefaultCandidates(statistics, true)), ElementsAre("mxint4:group-size=32"));
  }
}

}  // namespace
}  // namespace quantd::cli
