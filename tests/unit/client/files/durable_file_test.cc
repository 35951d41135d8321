#include "client/files/durable_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/client/files/model_folder.h"

namespace quantd {
namespace {

using ::quantd::testing::ReadTree;
using ::quantd::testing::TempFolder;
using ::quantd::testing::WriteText;
using ::testing::ElementsAre;

TEST(CopyCompanions, LeavesDenseWeightsBehindAtEveryLevelAndTellsThem) {
  TempFolder from, to;
  for (const char* name : {"config.json",
                           "quantd-report.json",
                           "quantd-journal.jsonl",
                           "model.safetensors",
                           "model-00001-of-00002.safetensors",
                           "model.safetensors.index.json",
                           "tokenizer.json",
                           "1_Pooling/config.json",
                           "2_Dense/config.json",
                           "2_Dense/model.safetensors",
                           "2_Dense/pytorch_model.bin",
                           "pytorch_model.bin",
                           "consolidated.safetensors",
                           "original/consolidated.00.pth",
                           "original/params.json",
                           "original/a/w.safetensors",
                           "onnx/model.onnx",
                           "onnx/model.onnx_data",
                           "adapter/adapter.safetensors",
                           "gguf/model.gguf",
                           ".git/HEAD"}) {
    WriteText(from / name, name);
  }
  ASSERT_EQ(symlink("1_Pooling", (from / "linked").c_str()), 0);
  ASSERT_EQ(symlink("tokenizer.json", (from / "link.json").c_str()), 0);
  const absl::Status copied = CopyCompanions(from.path(), to.path());
  ASSERT_TRUE(copied.ok()) << copied;
  std::vector<std::string> names;
  for (const auto& [name, text] : ReadTree(to.path())) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("1_Pooling/config.json", "2_Dense/config.json",
                                 "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin",
                                 "adapter/adapter.safetensors", "link.json", "original/params.json",
                                 "tokenizer.json"));
  const auto left = LeftBehind(from.path());
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_THAT(*left,
              ElementsAre(".git/", "consolidated.safetensors", "gguf/model.gguf", "linked/",
                          "onnx/model.onnx", "onnx/model.onnx_data", "original/a/w.safetensors",
                          "original/consolidated.00.pth", "pytorch_model.bin"));
}

TEST(CopyCompanions, KeepsTheFreshReport) {
  TempFolder from, to;
  WriteText(from / "quantd-report.json", "stale");
  WriteText(to / "quantd-report.json", "fresh");
  ASSERT_TRUE(CopyCompanions(from.path(), to.path()).ok());
  EXPECT_EQ(testing::ReadText(to / "quantd-report.json"), "fresh");
}

}  // namespace
}  // namespace quantd
