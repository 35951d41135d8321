// What a request says about a tensor, and a tensor with its bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "workers/core/buffer.h"
#include "workers/core/digest.h"
#include "workers/core/dtype.h"
#include "workers/core/shape.h"

namespace quantd {

// What a tensor is for. Values are stable (wire). With W m x n:
enum class Role : uint8_t {
  kUnspecified = 0,
  kWeight = 1,          // [m, n]
  kHessian = 2,         // H = X^T X / T: [n, n], or the upper triangle row by row [n(n+1)/2]
  kActivations = 3,     // X [T, n], folded into H while chunks arrive
  kChannelAbsMean = 4,  // [n]
  kChannelAbsMax = 5,   // [n]
  kFisher = 6,          // [m, n]
  kCrossMoment = 7,     // [n, n]
  kTokenWeight = 8,     // [T]
  kPacked = 9,          // a tensor of a packed layout (Dequantize)
  kGradient = 10,       // [m, n], the loss's gradient; its sign is not used
  kRotationSigns = 11,  // [n], +1 / -1: the signs of a given rotation instead of the seed's
  // FitKind::kGiven, see Levels for M, B, og, ig:
  kCodebooks = 12,   // [M, 2^B, og, ig]
  kScales = 13,      // [m / og], or [m / og, n / ig] where each patch has its own
  kCodes = 14,       // [m / og, n / ig, M], I8, U8, I16, U16 or I32; negative ones wrap by 2^B
  kCheckpoint = 15,  // U8 [bytes]: a state of this very job, see SolveWatch
};

absl::string_view RoleName(Role role);  // "WEIGHT", "HESSIAN", ...

struct TensorDecl {
  std::string name;
  Role role = Role::kUnspecified;
  DType dtype = DType::kUnspecified;
  Shape shape;
  std::optional<Digest> digest;  // of all bytes; checked at the end of the upload when present
  // FISHER, GRADIENT, CODEBOOKS, SCALES and CODES: the weight they belong to; may be empty where
  // the request has one weight.
  std::string of;
};

// Bytes are little-endian, C order, exactly CheckedBytes(shape, dtype) of them.
struct Tensor {
  TensorDecl decl;
  Buffer bytes;
};

// Where an upload goes: the assembler checks frames, the sink owns the bytes.
class TensorSink {
 public:
  virtual ~TensorSink() = default;
  // Bytes [offset, offset + bytes.size()) of tensor `index`. The assembler guarantees that a
  // tensor's bytes arrive once, in order, without gaps, and within its declared size.
  virtual absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes) = 0;

  // All bytes of tensor `index` have come; `digest` is theirs. Called once per tensor, after the
  // last Write of the whole upload.
  virtual void Complete(int index, const Digest& digest) {
    static_cast<void>(index);
    static_cast<void>(digest);
  }
};

}  // namespace quantd
