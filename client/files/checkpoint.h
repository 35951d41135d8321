// A Hugging Face model folder: config.json and one or more safetensors files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/files/safetensors_reader.h"

namespace quantd {

// A tensor and the shard that owns it.
struct CheckpointTensor {
  const StoredTensor* stored = nullptr;
  int shard = 0;  // index into shards()

  const std::string& name() const { return stored->name; }
};

// Movable; pointers and views stay valid across moves, while one object holds the folder. All const
// calls are thread-safe.
class Checkpoint {
 public:
  // Reads `model.safetensors`, or the shards that `model.safetensors.index.json` names, and
  // `config.json`. NOT_FOUND when one of them is missing; INVALID_ARGUMENT naming file, tensor,
  // field and value when
  //  - the index names a file by anything but a bare file name;
  //  - index and shards do not hold the same tensors, each once;
  //  - a `model-*-of-*.safetensors` file lies in the folder that the index does not name (stale);
  //  - there are both a single file and an index for other files.
  static absl::StatusOr<Checkpoint> Open(const std::string& dir);

  const std::string& dir() const { return dir_; }
  const nlohmann::ordered_json& config() const { return config_; }  // an object
  std::string ModelType() const;                                    // "" when config.json has none

  absl::Span<const SafetensorsFile> shards() const { return shards_; }

  // Every tensor, in NaturalLess order of names ("layers.2" before "layers.10"), whatever the
  // shards.
  absl::Span<const CheckpointTensor> tensors() const { return tensors_; }
  const CheckpointTensor* Find(absl::string_view name) const;

  absl::Span<const std::byte> Bytes(const CheckpointTensor& tensor) const {
    return shards_[tensor.shard].Bytes(*tensor.stored);
  }
  void Release(const CheckpointTensor& tensor) const {
    shards_[tensor.shard].Release(*tensor.stored);
  }
  uint64_t TotalBytes() const;  // of all tensors, without headers

 private:
  Checkpoint() = default;
  absl::Status ReadConfig();
  absl::Status OpenSingle(const std::string& file);
  absl::Status OpenSharded(const std::string& index_text);
  absl::Status Collect();

  std::string dir_;
  nlohmann::ordered_json config_;
  std::vector<SafetensorsFile> shards_;
  std::vector<CheckpointTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

// Compares runs of digits as numbers, everything else by bytes; a strict weak order that tells any
// two different strings apart.
bool NaturalLess(absl::string_view a, absl::string_view b);

// A whole small file; NOT_FOUND and the like with the path. OUT_OF_RANGE above `limit` bytes.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, uint64_t limit);

}  // namespace quantd
