// The inside of ReadQuantizedModules(): one reader per quant_method over shared checks.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/files/checkpoint.h"
#include "client/files/quantization_config.h"

namespace quantd {

// Values of a config object. `where` and the key are named in errors; absent keys and nulls take
// `otherwise`, where there is one.
namespace config_value {

absl::Status Bad(absl::string_view where, absl::string_view field, absl::string_view what);
const nlohmann::ordered_json* FindIn(const nlohmann::ordered_json& object, const char* key);
absl::StatusOr<int64_t> Integer(const nlohmann::ordered_json& object, absl::string_view where,
                                const char* key, std::optional<int64_t> otherwise = std::nullopt);
absl::StatusOr<std::string> Text(const nlohmann::ordered_json& object, absl::string_view where,
                                 const char* key,
                                 std::optional<std::string> otherwise = std::nullopt);
absl::StatusOr<bool> Flag(const nlohmann::ordered_json& object, absl::string_view where,
                          const char* key, bool otherwise);
absl::StatusOr<int> Bits(const nlohmann::ordered_json& object, absl::string_view where,
                         const char* key);
// A regular expression from the start of the name.
absl::StatusOr<bool> MatchesStart(const std::string& pattern, const std::string& module);

}  // namespace config_value

class ConfigReader {
 public:
  ConfigReader(const Checkpoint& checkpoint, const nlohmann::ordered_json& config)
      : checkpoint_(checkpoint), config_(config) {}

  absl::StatusOr<std::vector<QuantizedModule>> Read();

 private:
  // compressed_tensors_config_reader.cc
  absl::Status ReadCompressedTensors();
  absl::Status ReadCompressedModule(const std::string& module, const Layout& layout);
  absl::StatusOr<const nlohmann::ordered_json*> GroupOf(const std::string& module,
                                                        std::string* group) const;
  absl::Status SetShape(const Layout& layout, QuantizedModule* module) const;
  absl::Status SetScheme(const nlohmann::ordered_json& weights, const std::string& group,
                         QuantizedModule* module) const;

  absl::Status ReadGptq();
  absl::Status ReadGptqModule(const StoredTensor& qweight, const Layout& layout);
  absl::StatusOr<const nlohmann::ordered_json*> DynamicRule(const std::string& module) const;
  absl::Status ReadBitsAndBytes();
  absl::Status ReadBitsAndBytesModule(const std::string& module, const Layout& layout);
  absl::Status ReadSpqr();
  absl::Status ReadAqlm();
  absl::Status ReadPlain();
  absl::Status ReadPlainModule(const nlohmann::ordered_json& entry, const Layout& layout);

  // Checks that the module's tensors are the layout's, finds them, and keeps the module.
  absl::Status Keep(QuantizedModule module, const Layout& layout);

  // The stored tensor of a module, null if there is none.
  const StoredTensor* Stored(const std::string& module, absl::string_view suffix) const;
  std::optional<int> IndexOf(const std::string& name) const;

  const Checkpoint& checkpoint_;
  const nlohmann::ordered_json& config_;
  std::vector<QuantizedModule> modules_;
};

// Groups of `group_size` columns, or one per row for -1.
absl::Status SetConfigGroups(int64_t group_size, int64_t cols, absl::string_view where, Spec* spec);

// F16, BF16, F32 as they are; nullopt for what no scale is stored as.
std::optional<StorageKind> StorageOf(DType dtype);

}  // namespace quantd
