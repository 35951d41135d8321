// quantctl's arguments as plain structs. The only reader of argv; CLI11 stays inside its .cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/cli/spec_choice.h"
#include "client/lib/channel.h"
#include "workers/core/dtype.h"

namespace quantd::cli {

struct ConnectionFlags {
  client::ChannelOptions channel;
  int jobs = 2;  // in flight
  int max_attempts = 12;
  double deadline_seconds = 0;  // of one call; 0: from the prediction
};

struct QuantizeFlags {
  std::string model_dir;
  std::string out_dir;
  SpecChoice spec;
  std::string layout;  // empty: the first that can hold the spec
  std::string statistics;
  std::string recipe;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  bool keep_unfit = false;  // leave weights dense that the spec does not fit, instead of an error
  bool accept_degraded = false;
  bool resume = false;
  int checkpoint_seconds = 60;  // between two states of a long solve; 0: none
  bool dry_run = false;
  bool verbose = false;
  std::string report;
  uint64_t max_shard_bytes = 5'000'000'000;
  ConnectionFlags connection;
};

struct DequantizeFlags {
  std::string quantized_dir;
  std::string out_dir;
  DType dtype = DType::kUnspecified;  // unspecified: config.json's torch_dtype, else F32
  bool resume = false;
  bool verbose = false;
  uint64_t max_shard_bytes = 5'000'000'000;
  ConnectionFlags connection;
};

struct VerifyFlags {
  std::string dir;
  std::string source;
  std::string report;
};

struct CommandLine {
  enum class Command { kNone, kQuantize, kDequantize, kEstimate, kVerify, kInfo, kMethods };

  Command command = Command::kNone;
  QuantizeFlags quantize;  // of quantize and estimate
  DequantizeFlags dequantize;
  VerifyFlags verify;
  std::string info_dir;
  ConnectionFlags methods;
  std::string method_name;  // of methods; empty: all

  // kNone: print `text` (help, version or what is wrong) and end with `exit_code`.
  std::string text;
  int exit_code = 0;
};

// Never throws and never exits.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace quantd::cli
