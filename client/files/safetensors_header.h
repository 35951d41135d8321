// The safetensors header: a parser that accepts exactly what the format allows, and the format's
// dtypes.
//
// Format: 8 bytes little-endian header length N, N bytes of JSON, then all tensor bytes back to
// back. The names in a file are data from outside; nothing here uses one as a path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/dtype.h"
#include "workers/core/shape.h"

namespace quantd {

// One tensor of a safetensors header.
struct StoredTensor {
  std::string name;
  std::string dtype_name;  // as the file has it: "F32", "F8_E8M0", ...
  // kUnspecified for the legal types that quantd computes nothing with (F4, F8_E8M0, C64, ...):
  // such a tensor is copied byte for byte and written back under `dtype_name`.
  DType dtype = DType::kUnspecified;
  Shape shape;         // counts elements, also for the types narrower than a byte
  uint64_t begin = 0;  // bytes from the start of the data section
  uint64_t end = 0;

  uint64_t size() const { return end - begin; }
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // 8 + N: where the data section starts in the file
};

// No header may be longer (the reference writer's own limit).
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// Parses a whole file given as bytes. `file` names it in messages. The tensors of the result tile
// the data section exactly: no hole, no overlap, nothing behind the last; names are unique; every
// size agrees with its shape and dtype. INVALID_ARGUMENT or OUT_OF_RANGE naming file, tensor, field
// and value otherwise. Allocates in proportion to the header only after its length was checked.
absl::StatusOr<SafetensorsHeader> ParseSafetensors(absl::Span<const std::byte> bytes,
                                                   absl::string_view file);

// Bits of one element of a safetensors dtype name, 0 for a name that the format does not know.
int SafetensorsBits(absl::string_view dtype_name);

// Position in the format's dtype list, from 0 ("BOOL") up; the reference writer sorts by it,
// falling. -1 for an unknown name.
int SafetensorsRank(absl::string_view dtype_name);

}  // namespace quantd
