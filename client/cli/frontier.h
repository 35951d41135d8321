// Measured candidates of every layer, in a file that outlives the run: what a plan is made from.
//
// The file is a journal (client/files/journal.h), one line a layer, so that an interrupted
// measurement goes on where it stopped, another budget needs no measurement at all, and another
// candidate only its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/files/journal.h"
#include "workers/core/digest.h"
#include "workers/core/report.h"
#include "workers/core/spec.h"

namespace quantd::cli {

// One candidate on one layer.
struct MeasuredCandidate {
  // What decides the figures beside the weight: KeyOf, digests of the statistics, of weights that
  // it is tied to.
  std::string key;
  Outcome outcome = Outcome::kUnspecified;
  std::string reason;                  // empty for OK
  double code_bits = 0;                // a weight's code
  int64_t block = 0;                   // weights that share one scale
  uint64_t bytes = 0;                  // everything that is stored
  double weight_error = 0;             // |D|^2 / |W|^2
  std::optional<double> output_error;  // tr(D H D^T) / tr(W H W^T)
  double seconds = 0;

  double error() const { return output_error.value_or(weight_error); }
};

struct LayerFrontier {
  std::string module;
  Digest source;  // of the weight's bytes
  std::vector<MeasuredCandidate> candidates;

  const MeasuredCandidate* Find(const std::string& key) const;  // null: not measured
};

// A text that tells specs apart, and the layouts that they are packed as.
std::string KeyOf(const Spec& spec, absl::string_view layout);

MeasuredCandidate MeasuredFrom(const std::string& key, const TensorReport& report);

// The file at `path`, new or of an earlier run. Append is thread-safe.
class FrontierFile {
 public:
  // FAILED_PRECONDITION for a file of another version, or one that another process writes.
  static absl::StatusOr<std::unique_ptr<FrontierFile>> Open(const std::string& path);

  // What an earlier run knows of the layer; null for nothing, and where its weight was another.
  const LayerFrontier* Find(const std::string& module, const Digest& source) const;

  // On disk when it returns.
  absl::Status Append(const LayerFrontier& layer);

 private:
  explicit FrontierFile(std::unique_ptr<Journal> journal) : journal_(std::move(journal)) {}

  std::unique_ptr<Journal> journal_;
  std::map<std::string, LayerFrontier> known_;
};

}  // namespace quantd::cli
