// Where every byte of an output folder goes, settled before any work starts.
//
// A plan is a pure function of the source's headers, the selection, the layout and the options: the
// same call gives the same files, whatever happens later. Where sizes come with the work (outliers,
// adaptive axes) it holds bounds for them and which file they go to; Resolve() gives the exact
// plan.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/files/checkpoint.h"
#include "client/files/fold.h"
#include "client/files/module_outcome.h"
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
  // Where the column scales of modules go.
  FoldPlan folds;
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
  int fold = -1;        // copied, but divided by the column scale of folds()[fold]
};

// One module whose tensors arrive from the service.
struct PlannedModule {
  std::string module;
  std::string weight;       // name of the dense weight: module + ".weight"
  std::vector<int> source;  // what it is made from: indices into Checkpoint::tensors()
  int64_t rows = 0;
  int64_t cols = 0;
  Spec spec;  // as asked; after Resolve() as it came out
  // Its tensors stand aside until every module is done: their sizes, or those of others in the same
  // file, come with the work.
  bool late = false;
  int fold = -1;  // its column scale goes into folds()[fold] and is not stored
  // What must arrive, in delivery order; of a module with open sizes the largest possible.
  std::vector<PackedDecl> decls;
  // Where it lies: indices into OutputPlan::tensors(), one per decl; -1 for a folded column scale.
  std::vector<int> tensors;
};

struct PlannedFile {
  std::string name;    // "model.safetensors" or "model-00001-of-00003.safetensors"
  uint64_t size = 0;   // of the whole file; of a late one at most
  std::string header;  // its first bytes, up to the data section; a multiple of 8
  bool late = false;   // sizes are bounds, and the header will be another
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

  // The plan with exact sizes, nothing in it late. `outcomes` holds every late module, by index;
  // each must pass CheckOutcome().
  absl::StatusOr<OutputPlan> Resolve(const Checkpoint& checkpoint,
                                     const std::map<int, ModuleOutcome>& outcomes) const;

  // OK if `tensors` are what the layout stores for the module under `spec`, its own with adaptive
  // axes decided; modules that are not late take their own, whatever `spec`. INVALID_ARGUMENT
  // otherwise.
  absl::Status CheckOutcome(int module, const Spec* spec,
                            absl::Span<const PackedView> tensors) const;

  bool HasLateFiles() const;

  absl::Span<const PlannedModule> modules() const { return modules_; }
  absl::Span<const Fold> folds() const { return folds_; }
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
  absl::Status AddTensors(const Checkpoint& checkpoint, const std::vector<bool>& replaced,
                          std::vector<std::vector<int>>* units);
  absl::Status FillFile(const std::vector<int>& members, int file);
  absl::Status FillConfigs();
  void ComputeDigest(const Checkpoint& checkpoint, absl::string_view kind,
                     const OutputOptions& options);

  const Layout* layout_ = nullptr;  // null for the way back
  nlohmann::ordered_json source_config_;
  std::vector<std::string> dense_linears_;
  std::vector<Fold> folds_;
  std::vector<PlannedModule> modules_;
  std::vector<PlannedTensor> tensors_;
  std::vector<PlannedFile> files_;
  std::string config_json_;
  std::string quantize_config_json_;
  Digest digest_;
};

// INVALID_ARGUMENT for a model whose config.json says that it is quantized already.
absl::Status CheckUnquantized(const Checkpoint& checkpoint);

// The header of a safetensors file as the reference writer orders it, length prefix and padding
// included, with metadata format = "pt". `members` are reordered (falling dtype rank, then name)
// and get their offsets, counted from the start of the file.
std::string LayOutSafetensors(std::vector<PlannedTensor*>& members);

}  // namespace quantd
