// The objects that tell a loader how a checkpoint is quantized: written for each layout, and read
// back, also from files of other tools as far as the formats are documented.
//
// compressed-tensors: config.json `quantization_config`, format "pack-quantized"; the layouts named
// after the other formats write those. gptq, gptq-v2: the same key with quant_method "gptq", and
// its content as quantize_config.json. bitsandbytes, spqr, aqlm: their own quant_method. plain:
// quant_method "quantd-plain", one entry per module with every field of its spec that is not Spec's
// default.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/files/checkpoint.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"
#include "workers/pack/layout.h"

namespace quantd {

// What a config says about one module.
struct ConfigModule {
  std::string module;
  int64_t rows = 0;
  int64_t cols = 0;
  Spec spec;
  std::vector<std::pair<std::string, Shape>> stored;  // suffix and shape of its tensors
};

// The object under "quantization_config". `quantized` is not empty and its specs are accepted by
// the layout; `dense_linears` are the paths of linear layers that stay dense; `model_config` is the
// rest of config.json. INVALID_ARGUMENT for a layout that has no config object, or one whose object
// describes all modules at once where they differ.
absl::StatusOr<nlohmann::ordered_json> MakeQuantizationConfig(
    absl::string_view layout, absl::Span<const ConfigModule> quantized,
    absl::Span<const std::string> dense_linears,
    const nlohmann::ordered_json& model_config = nlohmann::ordered_json::object());

// Sets in `model_config`, the rest of config.json, what readers of the layout go by. aqlm: the
// model's dtype becomes float16, because that is what its readers load codebooks and scales as,
// under the key that is there ("dtype", "torch_dtype" or both), else under "torch_dtype". Other
// layouts change nothing.
void AdaptModelConfig(absl::string_view layout, nlohmann::ordered_json* model_config);

// A module of a quantized folder, ready to be decoded.
struct QuantizedModule {
  std::string module;
  int64_t rows = 0;
  int64_t cols = 0;
  Spec spec;  // as far as the files tell: levels, partition, storage; all of it only for `plain`
  const Layout* layout = nullptr;
  std::vector<int> tensors;  // indices into Checkpoint::tensors(), in the order of Layout::Declare

  // The packed tensors as views into `checkpoint`'s mapping.
  std::vector<PackedView> Views(const Checkpoint& checkpoint) const;
};

// Every quantized module of a folder, in the order of names. INVALID_ARGUMENT naming module, field
// and value when the config is missing, is of an unknown kind, or does not fit the tensors;
// UNIMPLEMENTED for documented variants that quantd does not read (a stored weight_g_idx,
// activations ...).
absl::StatusOr<std::vector<QuantizedModule>> ReadQuantizedModules(const Checkpoint& checkpoint);

}  // namespace quantd
