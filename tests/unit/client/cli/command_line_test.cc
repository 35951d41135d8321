#include "client/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

using Command = CommandLine::Command;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CommandLine Parse(std::vector<const char*> args) {
  args.insert(args.begin(), "quantctl");
  return ParseCommandLine(static_cast<int>(args.size()), args.data());
}

TEST(CommandLineTest, PlainQuantizeNeedsModelAndOutputOnly) {
  CommandLine line = Parse({"quantize", "m", "-o", "out"});
  ASSERT_EQ(line.command, Command::kQuantize) << line.text;
  EXPECT_EQ(line.quantize.model_dir, "m");
  EXPECT_EQ(line.quantize.out_dir, "out");
  EXPECT_EQ(line.quantize.layout, "");  // chosen by what holds the spec
  EXPECT_FALSE(line.quantize.accept_degraded);
  auto spec = ResolveSpec(line.quantize.spec);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->method, "rtn");
  EXPECT_EQ(spec->levels.bits, 4);
  EXPECT_EQ(spec->levels.symmetry, Symmetry::kSymmetricMinMax);
  EXPECT_EQ(spec->partition.group_size, 128);
}

TEST(CommandLineTest, EveryFlagOfQuantizeArrives) {
  CommandLine line = Parse({"quantize",
                            "m",
                            "-o",
                            "out",
                            "--method",
                            "gptq",
                            "--bits",
                            "3",
                            "--group-size",
                            "64",
                            "--symmetry",
                            "symmetric-absmax",
                            "--layout",
                            "gptq-v2",
                            "--statistics",
                            "s.safetensors",
                            "--recipe",
                            "r.yaml",
                            "--include",
                            "q_proj",
                            "--include",
                            "k_proj",
                            "--exclude",
                            "layers\\.0",
                            "--server",
                            "host:1",
                            "--jobs",
                            "7",
                            "--on-degraded",
                            "accept",
                            "--resume",
                            "--report",
                            "x.json",
                            "--order",
                            "natural",
                            "--damping",
                            "0.05",
                            "--fit",
                            "shrink-search",
                            "--scale-dtype",
                            "F32",
                            "--tail",
                            "short-last-group",
                            "--verbose",
                            "--max-shard-size",
                            "1kb",
                            "--checkpoint-seconds",
                            "5",
                            "--metrics-listen",
                            "127.0.0.1:9465",
                            "--metrics-linger",
                            "30"});
  ASSERT_EQ(line.command, Command::kQuantize) << line.text;
  EXPECT_EQ(line.quantize.checkpoint_seconds, 5);
  const QuantizeFlags& f = line.quantize;
  EXPECT_EQ(f.layout, "gptq-v2");
  EXPECT_THAT(f.include, ElementsAre("q_proj", "k_proj"));
  EXPECT_THAT(f.exclude, ElementsAre("layers\\.0"));
  EXPECT_EQ(f.connection.channel.target, "host:1");
  EXPECT_EQ(f.connection.jobs, 7);
  EXPECT_TRUE(f.accept_degraded);
  EXPECT_TRUE(f.resume);
  EXPECT_TRUE(f.verbose);
  EXPECT_EQ(f.report, "x.json");
  EXPECT_EQ(f.metrics_listen, "127.0.0.1:9465");
  EXPECT_EQ(f.metrics_linger_seconds, 30);
  EXPECT_EQ(f.max_shard_bytes, 1024);
  auto spec = ResolveSpec(f.spec);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->method, "gptq");
  EXPECT_EQ(spec->levels.bits, 3);
  EXPECT_EQ(spec->levels.symmetry, Symmetry::kSymmetricAbsMax);
  EXPECT_EQ(spec->partition.group_size, 64);
  EXPECT_EQ(spec->partition.tail, TailPolicy::kShortLastGroup);
  EXPECT_EQ(spec->solve.order, Order::kNatural);
  EXPECT_EQ(spec->solve.damping.fraction, 0.05);
  EXPECT_EQ(spec->fit.kind, FitKind::kShrinkSearch);
  EXPECT_EQ(spec->storage.kind, StorageKind::kF32);
}

TEST(CommandLineTest, SymmetryFlagsAreShortForms) {
  const auto symmetry = [](const char* flag) {
    return ResolveSpec(Parse({"quantize", "m", "-o", "o", flag}).quantize.spec)->levels.symmetry;
  };
  EXPECT_EQ(symmetry("--asymmetric"), Symmetry::kAsymmetric);
  EXPECT_EQ(symmetry("--symmetric"), Symmetry::kSymmetricMinMax);
  EXPECT_EQ(Parse({"quantize", "m", "-o", "o", "--symmetric", "--asymmetric"}).exit_code, 2);
}

TEST(CommandLineTest, SetReachesEveryAxis) {
  const CommandLine line =
      Parse({"quantize", "m", "-o", "o", "--method", "nf4", "--set", "storage=nested,solver=gptq",
             "--set", "damping=0.1", "--order", "natural"});
  ASSERT_EQ(line.command, Command::kQuantize) << line.text;
  const auto spec = ResolveSpec(line.quantize.spec);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->method, "nf4");
  EXPECT_EQ(spec->storage.kind, StorageKind::kNested);
  EXPECT_EQ(spec->solve.solver, Solver::kGptq);
  EXPECT_EQ(spec->solve.order, Order::kNatural);
  EXPECT_EQ(spec->solve.damping.fraction, 0.1);
}

TEST(CommandLineTest, AdditiveCodesHaveASchemeOrItsNumbers) {
  const auto levels = [](const std::vector<const char*>& flags) {
    std::vector<const char*> args = {"quantize", "m", "-o", "o", "--method", "aqlm"};
    args.insert(args.end(), flags.begin(), flags.end());
    const CommandLine line = Parse(args);
    EXPECT_EQ(line.command, Command::kQuantize) << line.text;
    const auto spec = ResolveSpec(line.quantize.spec);
    EXPECT_TRUE(spec.ok()) << spec.status();
    const Levels& l = spec->levels;
    return std::vector<int>{l.codebooks, l.codebook_bits, l.in_group, l.out_group,
                            spec->solve.beam};
  };
  EXPECT_THAT(levels({}), ElementsAre(2, 8, 8, 1, 1));
  EXPECT_THAT(levels({"--scheme", "1x8g4", "--beam", "4"}), ElementsAre(1, 8, 4, 1, 4));
  EXPECT_THAT(
      levels({"--codebooks", "3", "--codebook-bits", "7", "--in-group", "16", "--out-group", "2"}),
      ElementsAre(3, 7, 16, 2, 1));
}

TEST(CommandLineTest, MistakesExitWithTwoAndNameFlagAndValue) {
  const struct {
    std::vector<const char*> args;
    const char* said;
  } cases[] = {
      {{"quantize", "m", "-o", "o", "--bits", "9"}, "9"},
      {{"quantize", "m", "-o", "o", "--bits", "four"}, "four"},
      {{"quantize", "m", "-o", "o", "--group-size", "0"}, "group-size"},
      {{"quantize", "m", "-o", "o", "--method", "magic"}, "magic"},
      {{"quantize", "m", "-o", "o", "--layout", "gguf"}, "gguf"},
      {{"quantize", "m", "-o", "o", "--damping", "nan"}, "nan"},
      {{"quantize", "m", "-o", "o", "--on-degraded", "maybe"}, "maybe"},
      {{"quantize", "m", "-o", "o", "--jobs", "0"}, "--jobs"},
      {{"quantize", "m", "-o", "o", "--checkpoint-seconds", "-1"}, "--checkpoint-seconds"},
      {{"quantize", "m", "-o", "o", "--metrics-linger", "5"}, "--metrics-listen"},
      {{"quantize", "m", "-o", "o", "--metrics-listen", "h:1", "--metrics-linger", "-1"}, "linger"},
      {{"quantize", "m", "-o", "o", "--order", "natural"}, "--order"},
      {{"quantize", "m", "-o", "o", "--set", "colour=red"}, "unknown key \"colour\""},
      {{"quantize", "m", "-o", "o", "--set", "bits"}, "not KEY=VALUE"},
      {{"quantize", "m", "-o", "o", "--bits", "3", "--set", "bits=4"}, "given twice"},
      {{"quantize", "m", "-o", "o", "--method", "awq", "--group-axis", "in", "--fit", "min-max"},
       "groups down a column"},
      {{"quantize", "m", "-o", "o", "--method", "aqlm", "--scheme", "2by8"},
       "--scheme: \"2by8\" is not MxB[gI][oO]"},
      {{"quantize", "m", "-o", "o", "--method", "aqlm", "--scheme", "2x8", "--in-group", "4"},
       " excludes --"},
      {{"quantize", "m", "-o", "o", "--method", "aqlm", "--scheme", "2x8", "--set", "in-group=4"},
       "in-group: is given twice"},
      {{"quantize", "m", "-o", "o", "--method", "aqlm", "--beam", "65"}, "65"},
      {{"quantize", "m", "-o", "o", "--scheme", "2x8"}, "speak to additive levels; rtn has none"},
      {{"quantize", "m", "-o", "o", "--method", "gptq", "--beam", "2"}, "gptq has none"},
      {{"quantize", "m"}, "-o"},
      {{"quantize"}, "model"},
      {{"quantise", "m"}, "quantise"},
      {{"quantize", "m", "-o", "o", "--colour"}, "--colour"},
      {{}, "command is missing"},
  };
  for (const auto& c : cases) {
    CommandLine line = Parse(c.args);
    EXPECT_EQ(line.command, Command::kNone) << c.said;
    EXPECT_EQ(line.exit_code, 2) << c.said;
    EXPECT_THAT(line.text, HasSubstr(c.said));
  }
}

TEST(CommandLineTest, HelpAndVersionAreNoMistakes) {
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_THAT(Parse({"quantize", "--help"}).text, HasSubstr("--group-size"));
  EXPECT_THAT(Parse({"quantize", "--help"}).text, HasSubstr("--scheme"));
  EXPECT_THAT(Parse({"estimate", "--help"}).text, HasSubstr("MxB[gI][oO]"));
  EXPECT_THAT(Parse({"--version"}).text, HasSubstr("quantctl "));
}

TEST(CommandLineTest, OtherCommandsParse) {
  EXPECT_EQ(Parse({"estimate", "m", "--bits", "8"}).command, Command::kEstimate);
  EXPECT_TRUE(Parse({"estimate", "m"}).quantize.dry_run);
  EXPECT_EQ(Parse({"estimate", "m"}).quantize.checkpoint_seconds, 60);
  CommandLine line = Parse({"dequantize", "q", "-o", "d", "--dtype", "BF16"});
  EXPECT_EQ(line.command, Command::kDequantize);
  EXPECT_EQ(line.dequantize.dtype, DType::kBF16);
  line = Parse({"verify", "q", "--source", "m"});
  EXPECT_EQ(line.command, Command::kVerify);
  EXPECT_EQ(line.verify.source, "m");
  EXPECT_EQ(Parse({"info", "q"}).info_dir, "q");
  EXPECT_EQ(Parse({"methods", "--server", "h:1"}).methods.channel.target, "h:1");
  EXPECT_EQ(Parse({"methods", "hqq"}).method_name, "hqq");
}

}  // namespace
}  // namespace quantd::cli
