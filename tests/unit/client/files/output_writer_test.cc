#include "client/files/output_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "tests/unit/client/files/planned_run.h"

namespace quantd {
namespace {

using ::quantd::testing::FileExists;
using ::quantd::testing::GroupSpec;
using ::quantd::testing::PlannedRun;
using ::quantd::testing::ReadText;
using ::quantd::testing::ReadTree;
using ::quantd::testing::TempFolder;
using ::quantd::testing::WriteText;
using ::testing::HasSubstr;

OutputOptions SmallShards() {
  OutputOptions options;
  options.max_shard_bytes = 12000;
  return options;
}

class OutputWriterTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<OutputWriter>> Open(bool resume = false) {
    return OutputWriter::Open(run_.plan(), run_.checkpoint(), out_, {resume});
  }

  absl::Status Put(OutputWriter* writer, int module) {
    const std::vector<PackedTensor> packed = run_.Pack(module);
    return writer->WriteModule(module, ViewsOf(packed), absl::StrCat("{\"module\":", module, "}"));
  }

  // A whole run in the given order, without interruption.
  void Run(const std::vector<int>& order) {
    auto writer = Open();
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (int module : order) ASSERT_TRUE(Put(writer->get(), module).ok());
    const absl::Status finished = (*writer)->Finish();
    ASSERT_TRUE(finished.ok()) << finished;
  }

  std::vector<int> AllModules() const {
    std::vector<int> out(run_.plan().modules().size());
    std::iota(out.begin(), out.end(), 0);
    return out;
  }

  // What an undisturbed run gives.
  std::map<std::string, std::string> Expected() {
    const std::string kept = out_;
    out_ = scratch_ / "undisturbed";
    Run(AllModules());
    auto tree = ReadTree(out_);
    out_ = kept;
    return tree;
  }

  bool NoFinalNames() const {
    for (const PlannedFile& file : run_.plan().files()) {
      if (FileExists(out_ + "/" + file.name)) return false;
    }
    return !FileExists(out_ + "/config.json") && !FileExists(out_ + "/tokenizer.json");
  }

  PlannedRun run_{"compressed-tensors", GroupSpec(32), SmallShards()};
  TempFolder scratch_;
  std::string out_ = scratch_ / "out";
};

TEST_F(OutputWriterTest, WritesACompleteFolder) {
  Run(AllModules());
  const auto tree = ReadTree(out_);
  for (const auto& [name, text] : tree) {
    EXPECT_FALSE(absl::EndsWith(name, ".partial")) << name;
  }
  EXPECT_EQ(tree.count(kJournalName), 0);
  EXPECT_EQ(tree.at("tokenizer.json"), ReadText(run_.source() + "/tokenizer.json"));
  EXPECT_EQ(tree.count("1_Pooling/config.json"), 1);
  EXPECT_EQ(tree.count("pytorch_model.bin"), 0);
  EXPECT_EQ(tree.count(".git/HEAD"), 0);
  EXPECT_EQ(tree.size(), run_.plan().files().size() + 4);  // index, config, tokenizer, pooling

  const auto back = Checkpoint::Open(out_);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->tensors().size(), run_.plan().tensors().size());
  // Copied byte for byte.
  for (const char* name : {"lm_head.weight", "model.layers.1.self_attn.q_proj.bias"}) {
    const auto bytes = back->Bytes(*back->Find(name));
    EXPECT_EQ(DigestOf(bytes), DigestOf(run_.checkpoint().Bytes(*run_.checkpoint().Find(name))));
  }
  const std::vector<PackedTensor> packed = run_.Pack(3);
  const PlannedModule& module = run_.plan().modules()[3];
  const CheckpointTensor* const codes = back->Find(module.module + ".weight_packed");
  ASSERT_NE(codes, nullptr);
  EXPECT_EQ(DigestOf(back->Bytes(*codes)),
            DigestOf(absl::MakeConstSpan(packed[0].bytes.data(), packed[0].bytes.size())));
}

TEST_F(OutputWriterTest, GivesTheSameBytesInAnyOrderAndFromManyThreads) {
  const auto expected = Expected();
  std::mt19937 random(3);
  for (int round = 0; round < 3; ++round) {
    std::vector<int> order = AllModules();
    std::shuffle(order.begin(), order.end(), random);
    out_ = scratch_ / absl::StrCat("shuffled", round);
    Run(order);
    EXPECT_EQ(ReadTree(out_), expected);
  }
  out_ = scratch_ / "threads";
  auto writer = Open();
  ASSERT_TRUE(writer.ok());
  std::vector<std::thread> threads;
  for (int first = 0; first < 4; ++first) {
    threads.emplace_back([&, first] {
      for (size_t m = first; m < run_.plan().modules().size(); m += 4) {
        EXPECT_TRUE(Put(writer->get(), static_cast<int>(m)).ok());
      }
    });
  }
  for (std::thread& t : threads) t.join();
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(ReadTree(out_), expected);
}

TEST_F(OutputWriterTest, TakesTensorsInPiecesThatArriveInAnyOrder) {
  const auto expected = Expected();
  auto writer = Open();
  ASSERT_TRUE(writer.ok());
  for (int m : AllModules()) {
    const std::vector<PackedTensor> packed = run_.Pack(m);
    std::vector<Digest> digests;
    for (size_t i = 0; i < packed.size(); ++i) {
      const absl::Span<const std::byte> bytes(packed[i].bytes.data(), packed[i].bytes.size());
      digests.push_back(DigestOf(bytes));
      for (int64_t at = (static_cast<int64_t>(bytes.size()) - 1) / 100 * 100; at >= 0; at -= 100) {
        ASSERT_TRUE((*writer)->Write(m, static_cast<int>(i), at, bytes.subspan(at, 100)).ok());
      }
    }
    ASSERT_TRUE((*writer)->CommitModule(m, digests, "{}").ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(ReadTree(out_), expected);
}

TEST_F(OutputWriterTest, ResumesAfterEveryNumberOfModules) {
  const auto expected = Expected();
  const int modules = static_cast<int>(run_.plan().modules().size());
  for (int killed_after = 0; killed_after <= modules; killed_after += 3) {
    out_ = scratch_ / absl::StrCat("killed", killed_after);
    {
      auto writer = Open();
      ASSERT_TRUE(writer.ok());
      for (int m = 0; m < killed_after; ++m) ASSERT_TRUE(Put(writer->get(), m).ok());
      if (killed_after < modules) {  // and in the middle of the next one
        const std::vector<PackedTensor> packed = run_.Pack(killed_after);
        ASSERT_TRUE(
            (*writer)->Write(killed_after, 0, 0, ViewsOf(packed)[0].bytes.subspan(0, 77)).ok());
      }
      EXPECT_TRUE(NoFinalNames());
    }
    auto writer = Open(/*resume=*/true);
    ASSERT_TRUE(writer.ok()) << writer.status();
    const std::vector<int> pending = (*writer)->Pending();
    EXPECT_EQ(pending.size(), modules - killed_after);
    if (killed_after > 0) {
      EXPECT_EQ(*(*writer)->ReportJson(0), "{\"module\":0}");
    }
    for (int m : pending) ASSERT_TRUE(Put(writer->get(), m).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
    EXPECT_EQ(ReadTree(out_), expected);
  }
}

TEST_F(OutputWriterTest, RedoesModulesWhoseBytesWereDamaged) {
  const auto expected = Expected();
  {
    auto writer = Open();
    ASSERT_TRUE(writer.ok());
    for (int m = 0; m < 10; ++m) ASSERT_TRUE(Put(writer->get(), m).ok());
  }
  const PlannedTensor& tensor = run_.plan().tensors()[run_.plan().modules()[2].tensors[0]];
  const std::string path = out_ + "/" + run_.plan().files()[tensor.file].name + ".partial";
  std::string text = ReadText(path);
  text[tensor.offset + 5] = static_cast<char>(text[tensor.offset + 5] ^ 1);
  WriteText(path, text);
  // And a file that vanished.
  const PlannedTensor& other = run_.plan().tensors()[run_.plan().modules()[9].tensors[0]];
  ASSERT_NE(other.file, tensor.file);
  unlink((out_ + "/" + run_.plan().files()[other.file].name + ".partial").c_str());

  auto writer = Open(/*resume=*/true);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<int> pending = (*writer)->Pending();
  EXPECT_EQ(std::count(pending.begin(), pending.end(), 2), 1);
  EXPECT_EQ(std::count(pending.begin(), pending.end(), 9), 1);
  EXPECT_EQ(std::count(pending.begin(), pending.end(), 0), 0);
  EXPECT_EQ((*writer)->ReportJson(2).status().code(), absl::StatusCode::kNotFound);
  for (int m : pending) ASSERT_TRUE(Put(writer->get(), m).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(ReadTree(out_), expected);
}

TEST_F(OutputWriterTest, ResumesARunThatWasKilledWhileItFinished) {
  const auto expected = Expected();
  {
    auto writer = Open();
    ASSERT_TRUE(writer.ok());
    for (int m : AllModules()) ASSERT_TRUE(Put(writer->get(), m).ok());
  }
  // Some weights already have their final names, the configs not yet.
  const std::string first = out_ + "/" + run_.plan().files()[0].name;
  ASSERT_EQ(rename((first + ".partial").c_str(), first.c_str()), 0);
  WriteText(out_ + "/tokenizer.json.partial", "half");
  auto writer = Open(/*resume=*/true);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE((*writer)->Pending().empty());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(ReadTree(out_), expected);
}

TEST_F(OutputWriterTest, StopsCopyingWhenTold) {
  const auto expected = Expected();
  auto writer = Open();
  ASSERT_TRUE(writer.ok());
  for (int m : AllModules()) ASSERT_TRUE(Put(writer->get(), m).ok());
  int copied = 0;
  const absl::Status stopped = (*writer)->CopyTensors([&copied](uint64_t) {
    return ++copied == 2 ? absl::CancelledError("stopped") : absl::OkStatus();
  });
  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(copied, 2);
  EXPECT_TRUE(NoFinalNames());
  EXPECT_FALSE(IsFinishedFolder(out_));
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(ReadTree(out_), expected);
  EXPECT_FALSE(IsFinishedFolder(out_));  // not without its report
  WriteText(out_ + "/quantd-report.json", "{}");
  EXPECT_TRUE(IsFinishedFolder(out_));
}

TEST_F(OutputWriterTest, RefusesToMixTwoRuns) {
  {
    auto writer = Open();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(Put(writer->get(), 0).ok());
    // While it runs, nobody else gets in.
    const auto second = Open(/*resume=*/true);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("another process"));
  }
  const auto fresh = Open();
  EXPECT_EQ(fresh.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(fresh.status().message()), HasSubstr("--resume"));

  PlannedRun other("compressed-tensors", GroupSpec(64), SmallShards());
  const auto mixed = OutputWriter::Open(other.plan(), other.checkpoint(), out_, {true});
  EXPECT_EQ(mixed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(mixed.status().message()), HasSubstr("plan"));
}

TEST_F(OutputWriterTest, NoticesThatTheSourceHasChanged) {
  {
    auto writer = Open();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(Put(writer->get(), 0).ok());
  }
  PlannedRun same("compressed-tensors", GroupSpec(32), SmallShards());
  std::vector<testing::RawTensor> tensors = testing::LlamaTensors();
  for (testing::RawTensor& t : tensors) {
    if (t.name == run_.plan().modules()[0].weight) t.bytes[9] ^= 1;
  }
  WriteText(same.source() + "/model.safetensors", testing::Serialize(tensors));
  const auto changed = Checkpoint::Open(same.source());
  ASSERT_TRUE(changed.ok());
  const auto writer = OutputWriter::Open(same.plan(), *changed, out_, {true});
  EXPECT_EQ(writer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("have changed"));
}

TEST_F(OutputWriterTest, RefusesFoldersItMustNotTouch) {
  WriteText(out_ + "/notes.txt", "mine");
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("is not empty"));
  EXPECT_THAT(std::string(Open(true).status().message()), HasSubstr("nothing to resume"));
  EXPECT_EQ(ReadTree(out_).size(), 1);
  out_ = run_.source() + "/out";
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("must not contain each other"));
  EXPECT_FALSE(FileExists(out_));
  out_ = run_.source();
  EXPECT_FALSE(Open(true).ok());
}

TEST_F(OutputWriterTest, ResumeOfAnEmptyFolderIsAFreshStart) {
  std::filesystem::create_directories(out_);
  auto writer = Open(/*resume=*/true);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ((*writer)->Pending().size(), run_.plan().modules().size());
}

TEST_F(OutputWriterTest, RefusesWrongTensorsAndDoubleWork) {
  auto opened = Open();
  ASSERT_TRUE(opened.ok());
  OutputWriter& writer = **opened;
  const std::vector<PackedTensor> packed = run_.Pack(0);
  const std::vector<PackedView> views = ViewsOf(packed);
  EXPECT_EQ(writer.Write(0, 0, packed[0].bytes.size() - 1, views[0].bytes).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(writer.Write(0, 0, UINT64_MAX, views[0].bytes).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(writer.Write(0, 3, 0, views[0].bytes).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(writer.Write(-1, 0, 0, views[0].bytes).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(writer.Write(99, 0, 0, views[0].bytes).code(), absl::StatusCode::kOutOfRange);

  std::vector<PackedView> wrong = views;
  wrong[1].decl.shape = {1, 1};
  EXPECT_THAT(std::string(writer.WriteModule(0, wrong, "{}").message()), HasSubstr("expected"));
  wrong = views;
  wrong.pop_back();
  EXPECT_FALSE(writer.WriteModule(0, wrong, "{}").ok());
  EXPECT_EQ(writer.WriteModule(0, views, "{not json").code(), absl::StatusCode::kInvalidArgument);

  // The bytes that were written are not those that were declared.
  std::vector<Digest> digests;
  for (const PackedView& view : views) digests.push_back(DigestOf(view.bytes));
  ASSERT_TRUE(writer.Write(0, 0, 3, views[0].bytes.subspan(0, 50)).ok());
  EXPECT_EQ(writer.CommitModule(0, digests, "{}").code(), absl::StatusCode::kDataLoss);

  EXPECT_EQ(writer.Finish().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(writer.WriteModule(0, views, "{}").ok());
  EXPECT_EQ(writer.WriteModule(0, views, "{}").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(NoFinalNames());
}

// A limit on the size of files stands in for a disk without room.
TEST_F(OutputWriterTest, TellsAFullDiskBeforeTheWorkAndCleansUp) {
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto writer = Open();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, ignored);
  ASSERT_EQ(writer.status().code(), absl::StatusCode::kResourceExhausted) << writer.status();
  EXPECT_THAT(std::string(writer.status().message()),
              HasSubstr(absl::StrCat(run_.plan().TotalBytes())));
  EXPECT_FALSE(FileExists(out_));
}

TEST_F(OutputWriterTest, WritesTheDenseFolderBack) {
  Run(AllModules());
  const auto quantized = Checkpoint::Open(out_);
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  const auto modules = ReadQuantizedModules(*quantized);
  ASSERT_TRUE(modules.ok()) << modules.status();
  const auto plan = OutputPlan::ForDequantize(*quantized, *modules, DType::kBF16, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::string dense = scratch_ / "dense";
  auto writer = OutputWriter::Open(*plan, *quantized, dense, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t m = 0; m < plan->modules().size(); ++m) {
    const PlannedModule& module = plan->modules()[m];
    const std::string bytes = testing::PatternBytes(module.rows * module.cols * 2, m);
    ASSERT_TRUE(
        (*writer)
            ->WriteModule(static_cast<int>(m), {{module.decls[0], testing::AsBytes(bytes)}}, "{}")
            .ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto back = Checkpoint::Open(dense);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->config(), run_.checkpoint().config());
  ASSERT_EQ(back->tensors().size(), run_.checkpoint().tensors().size());
  for (size_t i = 0; i < back->tensors().size(); ++i) {
    EXPECT_EQ(back->tensors()[i].name(), run_.checkpoint().tensors()[i].name());
    EXPECT_EQ(back->tensors()[i].stored->shape, run_.checkpoint().tensors()[i].stored->shape);
  }
}

}  // namespace
}  // namespace quantd
