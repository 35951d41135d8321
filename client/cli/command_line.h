// quantctl's arguments as plain structs. The only reader of argv; CLI11 stays inside its .cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/spec_choice.h"
#include "client/lib/channel.h"
#include "workers/core/dtype.h"
#include "workers/planner/scaling_law.h"

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
  std::string html;            // empty: no page
  std::string metrics_listen;  // HOST:PORT; empty: no metrics
  int metrics_linger_seconds = 0;
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

struct PlanFlags {
  std::string model_dir;
  std::string out;       // the recipe
  std::string report;    // empty: none
  std::string frontier;  // empty: beside the recipe
  std::string html;      // empty: no page
  std::string statistics;
  std::string layout;  // empty: the first that holds every candidate
  std::vector<std::string> candidates;
  std::vector<std::string> include;
  std::vector<std::string> exclude;

  // The goal: one of these.
  std::optional<double> budget_bits;  // a weight
  std::optional<uint64_t> size;       // bytes of the model's files
  std::optional<double> max_error;    // of the plan
  std::optional<double> low_share;    // Q_r
  std::optional<double> max_loss;     // nats, through the scaling law

  // Constraints: patterns, and PATTERN=BITS.
  std::vector<std::string> same;
  std::vector<std::string> min_bits;
  std::vector<std::string> max_bits;
  std::string sensitivity;  // CSV file

  std::string law;                 // profile
  std::string profiles;            // file with more of them
  std::optional<double> billions;  // instead of the model's own parameters
  bool extrapolate = false;

  int trials = 0;  // random draws instead of the optimum
  uint32_t seed = 0;
  bool by_block = false;     // draw whole transformer blocks
  std::string loss_command;  // tells a trial's loss

  bool verbose = false;
  ConnectionFlags connection;
};

struct LawFlags {
  std::string profile;
  std::string profiles;  // file with more of them
  LawQuestion question;
  bool extrapolate = false;
};

struct LawFitFlags {
  std::string points;  // CSV file
  std::string prior;   // profile
  std::string profiles;
};

struct CommandLine {
  enum class Command {
    kNone,
    kQuantize,
    kDequantize,
    kEstimate,
    kPlan,
    kLaw,
    kLawFit,
    kVerify,
    kInfo,
    kMethods
  };

  Command command = Command::kNone;
  QuantizeFlags quantize;  // of quantize and estimate
  DequantizeFlags dequantize;
  PlanFlags plan;
  LawFlags law;
  LawFitFlags law_fit;
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
