#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "workers/pack/layout.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LayoutListTest, NamesComeInTheOrderUsersSee) {
  std::vector<std::string> names;
  for (const Layout* layout : AllLayouts()) names.emplace_back(layout->name());
  EXPECT_THAT(names, ElementsAre("compressed-tensors", "int-quantized", "float-quantized",
                                 "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized",
                                 "gptq", "gptq-v2", "bitsandbytes", "spqr", "aqlm", "plain"));
}

TEST(LayoutListTest, FindsEachByItsName) {
  for (const Layout* layout : AllLayouts()) {
    const auto found = FindLayout(layout->name());
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, layout);
  }
}

TEST(LayoutListTest, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  const auto found = FindLayout("awq");
  ASSERT_EQ(found.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(found.status().message(), HasSubstr("'awq'"));
  EXPECT_THAT(found.status().message(), HasSubstr("compressed-tensors, int-quantized, "));
}

}  // namespace
}  // namespace quantd
