#include "workers/pack/scales.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"

namespace quantd {
namespace {

struct F16 {
  using Stored = uint16_t;
  static Stored Encode(float v) { return ToF16(v); }
  static float Decode(Stored v) { return FromF16(v); }
};
struct BF16 {
  using Stored = uint16_t;
  static Stored Encode(float v) { return ToBF16(v); }
  static float Decode(Stored v) { return FromBF16(v); }
};
struct F32 {
  using Stored = float;
  static Stored Encode(float v) { return v; }
  static float Decode(Stored v) { return v; }
};

template <typename Format>
void Store(const Coded& coded, const ScaleGrid& grid, std::byte* out) {
  const auto put = [out](int64_t element, float scale) {
    const typename Format::Stored stored = Format::Encode(scale);
    std::memcpy(out + element * sizeof stored, &stored, sizeof stored);
  };
  if (coded.granularity == Granularity::kTensor) {
    if (coded.row_begin == 0 && coded.rows > 0) put(0, coded.scales[0]);
    return;
  }
  const auto put_at = [&](int64_t r, int64_t g) {
    put((coded.row_begin + r) * grid.row_stride + g * grid.group_stride,
        coded.scales[r * coded.groups + g]);
  };
  // The inner loop runs along the stored order.
  if (grid.group_stride == 1) {
    for (int64_t r = 0; r < coded.rows; ++r) {
      for (int64_t g = 0; g < coded.groups; ++g) put_at(r, g);
    }
  } else {
    for (int64_t g = 0; g < coded.groups; ++g) {
      for (int64_t r = 0; r < coded.rows; ++r) put_at(r, g);
    }
  }
}

template <typename Format>
void Load(const std::byte* in, const ScaleGrid& grid, Coded* out) {
  const auto get = [in](int64_t element) {
    typename Format::Stored stored;
    std::memcpy(&stored, in + element * sizeof stored, sizeof stored);
    return Format::Decode(stored);
  };
  if (out->granularity == Granularity::kTensor) {
    std::fill(out->scales.begin(), out->scales.end(), get(0));
    return;
  }
  const auto get_at = [&](int64_t r, int64_t g) {
    out->scales[r * out->groups + g] =
        get((out->row_begin + r) * grid.row_stride + g * grid.group_stride);
  };
  if (grid.group_stride == 1) {
    for (int64_t r = 0; r < out->rows; ++r) {
      for (int64_t g = 0; g < out->groups; ++g) get_at(r, g);
    }
  } else {
    for (int64_t g = 0; g < out->groups; ++g) {
      for (int64_t r = 0; r < out->rows; ++r) get_at(r, g);
    }
  }
}

}  // namespace

void StoreScales(const Coded& coded, const ScaleGrid& grid, std::byte* out) {
  switch (grid.dtype) {
    case DType::kF16:
      return Store<F16>(coded, grid, out);
    case DType::kBF16:
      return Store<BF16>(coded, grid, out);
    default:
      return Store<F32>(coded, grid, out);
  }
}

absl::Status LoadScales(const PackedView& in, const ScaleGrid& grid, Coded* out) {
  switch (grid.dtype) {
    case DType::kF16:
      Load<F16>(in.bytes.data(), grid, out);
      break;
    case DType::kBF16:
      Load<BF16>(in.bytes.data(), grid, out);
      break;
    default:
      Load<F32>(in.bytes.data(), grid, out);
      break;
  }
  for (int64_t i = 0; i < static_cast<int64_t>(out->scales.size()); ++i) {
    if (!std::isfinite(out->scales[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", in.decl.suffix, "': scale of row ", out->row_begin + i / out->groups,
          ", group ", i % out->groups, " is ", out->scales[i], ", not a finite number"));
    }
  }
  return absl::OkStatus();
}

}  // namespace quantd
