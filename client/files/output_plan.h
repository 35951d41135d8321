// Where every byte of an output folder goes, settled before any work starts.
//
// A plan is a pure function of the source's headers, the selection, the layout and the options: the
// same call gives the same files, whatever happens later.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/files/checkpoint.h"
#include "client/files/quantization_config.h"
#include "client/files/selection.h"
#include "workers/core/digest.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"
#include "workers/pack/layout.h"

namespace quantd {

struct OutputOptions {
  // A shard grows until the next module would pass this many tensor bytes; a larger module gets a
  // shard of its own.
  uint64_t max_shard_bytes = 5'000'000'000;
  // Whatever else decides the bytes of the result (statistics, policy, seeds), as text; part of the
  // plan's digest, so that a run is not resumed under other inputs.
  std::string inputs;
};

// One tensor of the output.
struct PlannedTensor {
  std::string name;
  std::string dtype_name;
  Shape shape;
  uint64_t bytes = 0;
  int file = 0;         // index into files()
  uint64_t offset = 0;  // from the start of the file
  int source = -1;      // copied from Checkpoint::tensors()[source], or
  int module = -1;      // produced by modules()[module]
};

// One module whose tensors arrive from the service.
struct PlannedModule {
  std::string module;
  std::string weight;       // name of the dense weight: module + ".weight"
  std::vector<int> source;  // what it is made from: indices into Checkpoint::tensors()
  int64_t rows = 0;
  int64_t cols = 0;
  Spec spec;
  std::vector<PackedDecl> decls;  // what must arrive, in delivery order
  std::vector<int> tensors;       // the same, as indices into OutputPlan::tensors()
};

struct PlannedFile {
  std::string name;    // "model.safetensors" or "model-00001-of-00003.safetensors"
  uint64_t size = 0;   // of the whole file
  std::string header;  // its first bytes, up to the data section; a multiple of 8
};

class OutputPlan {
 public:
  // Quantization. INVALID_ARGUMENT when nothing is selected, when the source is quantized already,
  // or when a packed tensor's name is taken by another source tensor.
  static absl::StatusOr<OutputPlan> ForQuantize(const Checkpoint& checkpoint,
                                                const Selection& selection, const Layout& layout,
                                                const OutputOptions& options);

  // The way back: each of `modules` becomes one dense `<module>.weight` of `dtype`, everything else
  // is copied, and the config's quantization object is dropped.
  static absl::StatusOr<OutputPlan> ForDequantize(const Checkpoint& checkpoint,
                                                  absl::Span<const QuantizedModule> modules,
                                                  DType dtype, const OutputOptions& options);

  absl::Span<const PlannedModule> modules() const { return modules_; }
  absl::Span<const PlannedTensor> tensors() const { return tensors_; }
  absl::Span<const PlannedFile> files() const { return files_; }
  uint64_t TotalBytes() const;  // of all files

  // Sum of tensor bytes, without headers: the index's `total_size`.
  uint64_t TensorBytes() const;

  // Text of `model.safetensors.index.json`; empty with a single file.
  std::string IndexJson() const;

  // config.json's new text, and `quantize_config.json`'s (empty when the layout has none).
  const std::string& config_json() const { return config_json_; }
  const std::string& quantize_config_json() const { return quantize_config_json_; }

  // Over everything above, the source's headers, the options and the tool's version.
  Digest digest() const { return digest_; }

 private:
  OutputPlan() = default;
  absl::Status LayOut(const Checkpoint& checkpoint, const std::vector<bool>& replaced,
                      const OutputOptions& options);
  absl::Status FillFile(const std::vector<int>& members, int file);
  void ComputeDigest(const Checkpoint& checkpoint, absl::string_view kind,
                     const OutputOptions& options);

  std::vector<PlannedModule> modules_;
  std::vector<PlannedTensor> tensors_;
  std::vector<PlannedFile> files_;
  std::string config_json_;
  std::string quantize_config_json_;
  Digest digest_;
};

// The header of a safetensors file as the reference writer orders it, length prefix and padding
// included, with metadata format = "pt". `members` are reordered (falling dtype rank, then name)
// and get their offsets, counted from the start of the file.
std::string LayOutSafetensors(std::vector<PlannedTensor*>& members);

}  // namespace quantd
