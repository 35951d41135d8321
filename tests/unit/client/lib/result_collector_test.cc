#include "client/lib/result_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/wire/chunker.h"

namespace quantd::client {
namespace {

using ::testing::HasSubstr;

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

wire::ResultTensorFrame Announce(uint32_t index, const std::string& name,
                                 const std::string& bytes) {
  wire::ResultTensorFrame frame;
  frame.index = index;
  frame.decl.name = name;
  frame.decl.role = Role::kPacked;
  frame.decl.dtype = DType::kU8;
  frame.decl.shape = {static_cast<int64_t>(bytes.size())};
  frame.decl.digest = DigestOf(BytesOf(bytes));
  return frame;
}

wire::ChunkFrame ChunkOf(uint32_t index, const std::string& bytes) {
  return *wire::Chunker(index, BytesOf(bytes)).Next();
}

wire::FinalFrame FinalOf(Outcome outcome) {
  wire::FinalFrame frame;
  TensorReport report;
  report.name = "w";
  report.outcome = outcome;
  frame.report.tensors.push_back(report);
  return frame;
}

TEST(ResultCollectorTest, InterleavedTensorsComeOutInTheOrderAnnounced) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(Announce(5, "a", "xyz")).ok());
  ASSERT_TRUE(collector.Add(Announce(2, "b", "12")).ok());
  ASSERT_TRUE(collector.Add(wire::ProgressFrame{}).ok());
  ASSERT_TRUE(collector.Add(ChunkOf(2, "12")).ok());
  ASSERT_TRUE(collector.Add(ChunkOf(5, "xyz")).ok());
  ASSERT_TRUE(collector.Add(FinalOf(Outcome::kOk)).ok());
  auto answer = collector.Finish();
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->tensors.size(), 2);
  EXPECT_EQ(answer->tensors[0].decl.name, "a");
  EXPECT_EQ(answer->tensors[1].decl.name, "b");
}

TEST(ResultCollectorTest, ResultsBeforeAcceptedAreRefused) {
  ResultCollector collector({"w"});
  EXPECT_EQ(collector.Add(Announce(0, "a", "x")).code(), absl::StatusCode::kInternal);
}

TEST(ResultCollectorTest, FramesAfterFinalAreRefused) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(FinalOf(Outcome::kRejected)).ok());
  EXPECT_EQ(collector.Add(wire::ProgressFrame{}).code(), absl::StatusCode::kInternal);
}

TEST(ResultCollectorTest, ChunksOfUnknownAndTensorsOfUnknownWeightsAreRefused) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  EXPECT_EQ(collector.Add(ChunkOf(0, "x")).code(), absl::StatusCode::kInternal);
  auto frame = Announce(0, "a", "x");
  frame.weight = 1;
  EXPECT_EQ(collector.Add(frame).code(), absl::StatusCode::kInternal);
  frame.weight = 0;
  frame.decl.digest.reset();
  EXPECT_EQ(collector.Add(frame).code(), absl::StatusCode::kInternal);
}

TEST(ResultCollectorTest, StatesComeBetweenAcceptedAndTheFirstResult) {
  const auto piece = [](uint64_t total, uint64_t offset, const std::string& bytes) {
    return wire::JobStateFrame{total, offset, bytes, wire::Crc32c(BytesOf(bytes))};
  };
  {
    ResultCollector early({"w"});
    EXPECT_EQ(early.Add(piece(2, 0, "ab")).code(), absl::StatusCode::kInternal);
  }
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(piece(3, 0, "ab")).ok());
  EXPECT_FALSE(collector.TakeState());
  ASSERT_TRUE(collector.Add(wire::ProgressFrame{}).ok());
  ASSERT_TRUE(collector.Add(piece(3, 2, "c")).ok());
  EXPECT_EQ(collector.TakeState(), "abc");
  EXPECT_FALSE(collector.TakeState());
  // One that breaks off because the results are ready is nobody's loss.
  ASSERT_TRUE(collector.Add(piece(3, 0, "de")).ok());
  ASSERT_TRUE(collector.Add(Announce(0, "a", "x")).ok());
  EXPECT_EQ(collector.Add(piece(3, 2, "f")).code(), absl::StatusCode::kInternal);
}

TEST(ResultCollectorTest, ADamagedPieceOfAStateIsDataLoss) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  EXPECT_EQ(collector.Add(wire::JobStateFrame{3, 0, "abc", 1}).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(collector.TakeState());
}

TEST(ResultCollectorTest, AnAnnouncedNumberIsTaken) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(Announce(0, "a", "x")).ok());
  EXPECT_EQ(collector.Add(Announce(0, "b", "y")).code(), absl::StatusCode::kInternal);
}

TEST(ResultCollectorTest, ADamagedChunkIsDataLoss) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(Announce(0, "a", "xyz")).ok());
  wire::ChunkFrame chunk = ChunkOf(0, "xyz");
  chunk.data[1] ^= 4;
  EXPECT_EQ(collector.Add(chunk).code(), absl::StatusCode::kDataLoss);
}

TEST(ResultCollectorTest, AShapeThatOverflowsIsRefusedBeforeAllocating) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  auto frame = Announce(0, "a", "x");
  frame.decl.shape = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_FALSE(collector.Add(frame).ok());
}

TEST(ResultCollectorTest, ARejectedWeightNeedsNoTensors) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(FinalOf(Outcome::kRejected)).ok());
  EXPECT_TRUE(collector.Finish().ok());
}

TEST(ResultCollectorTest, ReportsSentOnTheWayFillAFinalWithout) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  wire::TensorReportFrame report;
  report.report.name = "w";
  report.report.outcome = Outcome::kRejected;
  ASSERT_TRUE(collector.Add(report).ok());
  ASSERT_TRUE(collector.Add(wire::FinalFrame{}).ok());
  auto answer = collector.Finish();
  ASSERT_TRUE(answer.ok());
  ASSERT_EQ(answer->final.report.tensors.size(), 1);
}

TEST(ResultCollectorTest, TheReportsDigestMustBeTheDeliveredOne) {
  ResultCollector collector({"w"});
  ASSERT_TRUE(collector.Add(wire::AcceptedFrame{}).ok());
  ASSERT_TRUE(collector.Add(Announce(0, "a", "xyz")).ok());
  ASSERT_TRUE(collector.Add(ChunkOf(0, "xyz")).ok());
  wire::FinalFrame final = FinalOf(Outcome::kOk);
  final.report.tensors[0].packed_digests = {{"a", DigestOf(BytesOf("other"))}};
  ASSERT_TRUE(collector.Add(final).ok());
  EXPECT_EQ(collector.Finish().status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace quantd::client
