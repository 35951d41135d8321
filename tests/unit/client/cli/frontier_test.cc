#include "client/cli/frontier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

Digest DigestOfText(const std::string& text) { return DigestOf(quantd::testing::AsBytes(text)); }

MeasuredCandidate Good(const std::string& key, double error) {
  MeasuredCandidate c;
  c.key = key;
  c.outcome = Outcome::kOk;
  c.code_bits = 3;
  c.block = 128;
  c.bytes = 12345;
  c.weight_error = error * 2;
  c.output_error = error;
  c.seconds = 0.25;
  return c;
}

LayerFrontier Layer(const std::string& module) {
  LayerFrontier layer;
  layer.module = module;
  layer.source = DigestOfText(module);
  layer.candidates = {Good("a", 0.1234567890123), Good("b", 0.5)};
  layer.candidates[1].output_error.reset();
  MeasuredCandidate refused;
  refused.key = "c";
  refused.outcome = Outcome::kRejected;
  refused.reason = "weight is not finite at [1, 2]";
  layer.candidates.push_back(refused);
  return layer;
}

class FrontierTest : public ::testing::Test {
 protected:
  std::unique_ptr<FrontierFile> Open() {
    auto file = FrontierFile::Open(path_);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }
  quantd::testing::TempFolder folder_;
  const std::string path_ = folder_ / "f.jsonl";
};

TEST_F(FrontierTest, WhatWasMeasuredIsThereInTheNextRun) {
  ASSERT_TRUE(Open()->Append(Layer("m.0")).ok());
  ASSERT_TRUE(Open()->Append(Layer("m.1")).ok());
  const auto file = Open();
  for (const char* module : {"m.0", "m.1"}) {
    const LayerFrontier* found = file->Find(module, DigestOfText(module));
    ASSERT_NE(found, nullptr);
    ASSERT_EQ(found->candidates.size(), 3u);
    const MeasuredCandidate* a = found->Find("a");
    EXPECT_EQ(a->error(), 0.1234567890123);
    EXPECT_EQ(a->bytes, 12345u);
    EXPECT_EQ(a->block, 128);
    EXPECT_EQ(a->code_bits, 3);
    EXPECT_EQ(a->seconds, 0.25);
    EXPECT_EQ(found->Find("b")->error(), 1.0);  // of the weight, where there is no other
    EXPECT_EQ(found->Find("c")->outcome, Outcome::kRejected);
    EXPECT_EQ(found->Find("c")->reason, "weight is not finite at [1, 2]");
    EXPECT_EQ(found->Find("d"), nullptr);
  }
}

TEST_F(FrontierTest, AnotherWeightIsNotKnown) {
  ASSERT_TRUE(Open()->Append(Layer("m")).ok());
  const auto file = Open();
  EXPECT_EQ(file->Find("m", DigestOfText("changed")), nullptr);
  EXPECT_EQ(file->Find("n", DigestOfText("m")), nullptr);
}

TEST_F(FrontierTest, TheLastLineOfALayerCounts) {
  LayerFrontier layer = Layer("m");
  {
    const auto file = Open();
    ASSERT_TRUE(file->Append(layer).ok());
    layer.candidates.push_back(Good("d", 0.25));
    ASSERT_TRUE(file->Append(layer).ok());
  }
  const auto file = Open();
  const LayerFrontier* found = file->Find("m", DigestOfText("m"));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->candidates.size(), 4u);
}

TEST_F(FrontierTest, LayoutsHaveFiguresOfTheirOwn) {
  EXPECT_NE(KeyOf(Spec(), "plain"), KeyOf(Spec(), "gptq"));
  Spec other;
  other.levels.bits = 3;
  EXPECT_NE(KeyOf(Spec(), "plain"), KeyOf(other, "plain"));
}

TEST_F(FrontierTest, AFileOfAnotherKindIsNotTouched) {
  for (const char* text : {"layers: []\n", "layers: []", "{\"quantd_journal\":1}\nno end"}) {
    quantd::testing::WriteText(path_, text);
    const auto other = FrontierFile::Open(path_);
    EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(other.status().message()), HasSubstr("is no frontier of this version"));
    EXPECT_EQ(quantd::testing::ReadText(path_), text);
  }
}

TEST_F(FrontierTest, DamagedLinesAndFiguresAreMeasuredAgain) {
  ASSERT_TRUE(Open()->Append(Layer("m")).ok());
  std::string text = quantd::testing::ReadText(path_);
  const std::string whole = text;
  // A kill in the middle of a line.
  quantd::testing::WriteText(path_, whole.substr(0, whole.size() - 20));
  EXPECT_EQ(Open()->Find("m", DigestOfText("m")), nullptr);
  // A figure that cannot be.
  text = whole;
  text.replace(text.find("12345"), 5, "-2345");
  quantd::testing::WriteText(path_, text);
  const auto file = Open();
  const LayerFrontier* found = file->Find("m", DigestOfText("m"));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->Find("a"), nullptr);
  EXPECT_NE(found->Find("b"), nullptr);
}

}  // namespace
}  // namespace quantd::cli
