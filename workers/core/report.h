// What the server tells about each weight and each job. Errors are measured on the decoded packed
// bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workers/core/digest.h"
#include "workers/core/spec.h"
#include "workers/core/tensor.h"

namespace quantd {

enum class Outcome : uint8_t {
  kUnspecified = 0,
  kOk = 1,
  kDegraded = 2,  // delivered, but not as the spec asked: see reason
  kRejected = 3,  // not delivered: see reason
};

absl::string_view OutcomeName(Outcome outcome);  // "OK", "DEGRADED", "REJECTED"

// What kind of trouble kept a weight from OK: a closed set, to be counted by.
enum class OutcomeCause : uint8_t {
  kNone,        // OK
  kDamping,     // DEGRADED: H was factored with more damping than asked for
  kNoFactor,    // DEGRADED: no rung of the damping ladder factored
  kNoSignal,    // DEGRADED: every column of H is zero
  kNotFinite,   // REJECTED: NaN or infinity in the weight
  kScaleRange,  // REJECTED: a scale or a kept value beyond its storage
  kPolicy,      // REJECTED: it would be DEGRADED, and the policy rejects that
  kOther,
};

absl::string_view OutcomeCauseName(OutcomeCause cause);  // "none", "damping", ...

// Why a weight did not end OK: the kind, and the words for people. Empty: nothing is wrong.
struct OutcomeReason {
  OutcomeCause cause = OutcomeCause::kNone;
  std::string text;

  bool empty() const { return text.empty(); }
};

// With D = W - W', all sums over the weight in double.
struct ErrorMeasures {
  double weight_mse = 0;             // |D|^2 / (m n)
  double weight_relative_error = 0;  // |D|^2 / |W|^2; 0 for an all-zero weight
  double sqnr_db = 0;  // 10 log10(|W|^2 / |D|^2); 0 for an all-zero weight, and kExactSqnrDb
                       // for an exact nonzero one
  double max_abs_error = 0;
  double cosine = 1;  // <W, W'> / (|W| |W'|); 1 when both are zero, 0 when one is
  // Weights beyond the outermost levels by more than half a step; affine levels only, else 0.
  double clipped_share = 0;
  // tr(D H D^T) / tr(W H W^T) with the undamped H; absent without H.
  std::optional<double> output_relative_error;

  // The one that people compare: of the outputs where H is known, of the weights elsewhere.
  double relative_error() const { return output_relative_error.value_or(weight_relative_error); }
};

// One of the specs that an adaptive axis tried on a weight.
struct Candidate {
  std::string name;  // "out", "in"; "3 bits"
  ErrorMeasures error;
  double all_in_bits_per_weight = 0;
  bool chosen = false;
};

// Stands for "no error at all" where 10 log10(x / 0) has no value.
inline constexpr double kExactSqnrDb = 400.0;

// What GPTQ had to do with H. Absent when the spec needs none.
struct SolverFacts {
  double damping_fraction = 0;  // lambda / mean(diag H) in the factorization that was used
  int damping_retries = 0;      // rungs beyond the first
  bool used_descent = false;    // no rung factored: coordinate descent from RTN
  int64_t dead_columns = 0;     // H_jj at most 1e-12 of the mean: rounded to nearest, kept
  double growth = 0;            // max |compensated w| / max |w|; above ~8 errors pile up
};

struct StageSeconds {
  double upload = 0;   // first to last chunk
  double queue = 0;    // waiting for memory and for a worker
  double prepare = 0;  // validation, H, factor, shared fits
  double solve = 0;    // fit + codes (+ pack + measure: they run in the same pass over the rows)
  double measure = 0;  // output errors through H
  double total = 0;
};

struct TensorReport {
  std::string name;  // of the weight
  Outcome outcome = Outcome::kUnspecified;
  std::string reason;                        // empty for OK
  OutcomeCause cause = OutcomeCause::kNone;  // the kind of `reason`; stays in the process
  int64_t rows = 0;
  int64_t cols = 0;
  double code_bits_per_weight = 0;    // codes alone
  double all_in_bits_per_weight = 0;  // every byte delivered for this weight x 8 / (m n)
  // What the delivered bytes are: the job's spec with adaptive axes decided. Dequantize wants it.
  Spec spec;
  ErrorMeasures error;
  // In the order they were tried; empty where no axis is adaptive.
  std::vector<Candidate> candidates;
  double outlier_share = 0;  // of weights stored beside the code, kept columns and rows included
  // Under QEP: E|W x - W' x'|^2 - E|W x - W x'|^2 over E|W x'|^2, x of the full-precision
  // and x' of the quantized model. Below 0: better than the untouched layer on the drifted inputs.
  std::optional<double> drift_error;
  // Facts that a reader should know and that are no trouble: "2 of 384 columns kept F16".
  std::vector<std::string> notes;
  std::optional<ErrorMeasures>
      rtn_baseline;  // plain RTN with the same levels, groups and min-max fit
  std::optional<SolverFacts> solver;
  double seconds = 0;    // of work on this weight
  Digest source_digest;  // of the weight's uploaded bytes
  // name -> digest of each packed tensor, in delivery order
  std::vector<std::pair<std::string, Digest>> packed_digests;
};

// What Measure tells of one candidate on one weight.
struct CandidateReport {
  int candidate = 0;  // index among the request's candidates
  TensorReport
      report;  // without RTN baseline and packed digests; REJECTED where the spec does not fit
};

struct JobReport {
  std::vector<TensorReport> tensors;  // one per weight, in request order
  StageSeconds seconds;
  int64_t calibration_tokens = 0;  // as declared, or counted from ACTIVATIONS
  uint64_t predicted_peak_bytes = 0;

  // REJECTED if any tensor is, else DEGRADED if any is, else OK.
  Outcome outcome() const;
};

}  // namespace quantd
