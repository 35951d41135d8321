#include "workers/fit/second_level.h"

#include <algorithm>
#include <cmath>

#include "workers/core/dynamic_map.h"
#include "workers/core/float16.h"
#include "workers/fit/storage.h"

namespace quantd {
namespace {

constexpr float kSmallestScale = 0x1p-126f;
constexpr int kNoDifference = 127;  // the code whose map entry is 0

// ---- kInt ---------------------------------------------------------------------------------------

// Second-level numbers of one run: value = step (code - zero).
struct IntRun {
  float step = 1.0f;
  float zero = 0.0f;
  int max_code = 0;
  bool overflow = false;

  float Value(int code) const { return step * (static_cast<float>(code) - zero); }
  int Nearest(float value) const {
    return static_cast<int>(
        std::clamp(std::nearbyintf(value / step + zero), 0.0f, static_cast<float>(max_code)));
  }
};

IntRun FitIntRun(const std::vector<float>& values, int bits) {
  IntRun run;
  run.max_code = (1 << bits) - 1;
  if (values.empty()) return run;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const float largest = std::max(std::fabs(*low), std::fabs(*high));
  const float wanted =
      std::max({(*high - *low) / static_cast<float>(run.max_code), largest * 0x1p-11f, 0x1p-24f});
  run.step = RoundTo(DType::kF16, wanted);
  if (run.step > MaxFinite(DType::kF16)) {
    run.overflow = true;
    run.step = MaxFinite(DType::kF16);
  }
  run.zero = RoundTo(DType::kF16, std::clamp(-*low / run.step, -65504.0f, 65504.0f));
  return run;
}

// The code for a group of zeros: the one whose zero is nearest to a code of the weights, so that
// the number 0 stays as near to itself as the run allows.
int NearestToWhole(const IntRun& run, float top) {
  int best = 0;
  float least = INFINITY;
  for (int code = 0; code <= run.max_code; ++code) {
    const float zero = run.Value(code);
    const float distance = std::fabs(zero - std::clamp(std::nearbyintf(zero), 0.0f, top));
    if (distance < least) {
      least = distance;
      best = code;
    }
  }
  return best;
}

// One column of the grid over one run of rows.
class IntColumn {
 public:
  IntColumn(Coded* out, int64_t row, int64_t group)
      : out_(out),
        begin_(row * out->groups + group),
        count_(std::min<int64_t>(out->storage.super_group, out->param_rows - row)) {}

  int64_t At(int64_t i) const { return begin_ + i * out_->groups; }

  // Index into the grid of the first overflow, or -1.
  int64_t StoreScales(float* super) {
    values_.clear();
    for (int64_t i = 0; i < count_; ++i) {
      const float scale = std::fabs(out_->scales[At(i)]);
      if (scale > 0.0f) values_.push_back(scale);
    }
    const IntRun run = FitIntRun(values_, out_->storage.bits);
    super[0] = run.step;
    super[1] = run.zero;
    for (int64_t i = 0; i < count_; ++i) {
      int code = run.Nearest(std::fabs(out_->scales[At(i)]));
      while (code < run.max_code && !(run.Value(code) >= kSmallestScale)) ++code;
      out_->scale_codes[At(i)] = static_cast<uint8_t>(code);
      out_->scales[At(i)] = run.Value(code);
    }
    return run.overflow ? At(0) : -1;
  }

  // `zeros` follow the stored scales already; `empty` marks groups of zeros.
  void StoreZeros(const std::vector<float>& zeros, const std::vector<uint8_t>& empty,
                  float* super) {
    values_.clear();
    for (int64_t i = 0; i < count_; ++i) {
      if (empty[At(i)] == 0) values_.push_back(zeros[At(i)]);
    }
    if (values_.empty()) values_.push_back(static_cast<float>(out_->levels.middle_code()));
    const IntRun run = FitIntRun(values_, out_->storage.bits);
    super[0] = run.step;
    super[1] = run.zero;
    const int whole = NearestToWhole(run, static_cast<float>(out_->levels.max_code()));
    for (int64_t i = 0; i < count_; ++i) {
      const int code = empty[At(i)] != 0 ? whole : run.Nearest(zeros[At(i)]);
      out_->zero_codes[At(i)] = static_cast<uint8_t>(code);
      out_->real_zeros[At(i)] = run.Value(code);
    }
  }

 private:
  Coded* out_;
  int64_t begin_, count_;
  std::vector<float> values_;
};

// ---- kNested ------------------------------------------------------------------------------------

int NearestInMap(float x) {
  const auto& map = DynamicMap();
  const auto above = std::lower_bound(map.begin(), map.end(), x);
  if (above == map.begin()) return 0;
  const int i = static_cast<int>(above - map.begin());
  if (i == static_cast<int>(map.size())) return i - 1;
  return x - map[i - 1] <= map[i] - x ? i - 1 : i;
}

void StoreNestedRun(float offset, int64_t count, float* scales, uint8_t* codes, float* super) {
  const auto& map = DynamicMap();
  float largest = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    const float scale = std::fabs(scales[i]);
    if (scale > 0.0f) largest = std::max(largest, std::fabs(scale - offset));
  }
  // Without a scale or an offset every code would decode to 0.
  if (largest == 0.0f && !(offset >= kSmallestScale)) largest = 1.0f;
  *super = largest;
  for (int64_t i = 0; i < count; ++i) {
    const float scale = std::fabs(scales[i]);
    int code =
        scale > 0.0f && largest > 0.0f ? NearestInMap((scale - offset) / largest) : kNoDifference;
    const auto value = [&] { return map[code] * largest + offset; };
    while (code < 255 && !(value() >= kSmallestScale)) ++code;
    codes[i] = static_cast<uint8_t>(code);
    scales[i] = value();
  }
}

// ---- zeros --------------------------------------------------------------------------------------

// Zeros that belong to the stored scales.
std::vector<float> FollowScales(const std::vector<float>& zeros, const std::vector<float>& first,
                                const Coded& out) {
  std::vector<float> moved(zeros.size());
  const float top = static_cast<float>(out.levels.max_code());
  for (size_t i = 0; i < zeros.size(); ++i) {
    moved[i] = first[i] == 0.0f ? static_cast<float>(out.levels.middle_code())
                                : zeros[i] * (first[i] / out.scales[i]);
    // Hqq may leave the codes' range on purpose; min-max zeros lie in it, but for their rounding.
    moved[i] = std::clamp(moved[i], -65504.0f, 65504.0f);
    if (!out.levels.real_zero()) moved[i] = std::clamp(std::nearbyintf(moved[i]), 0.0f, top);
  }
  return moved;
}

// Stores the scales alone; the index of the first overflow or -1.
int64_t StoreScales(float scale_offset, Coded* out) {
  int64_t first = -1;
  const int64_t grid = out->param_rows * out->groups;
  if (out->storage.kind == StorageKind::kNested) {
    for (int64_t at = 0; at < grid; at += kNestedRun) {
      StoreNestedRun(scale_offset, std::min(kNestedRun, grid - at), &out->scales[at],
                     &out->scale_codes[at], &out->super[at / kNestedRun]);
    }
    return -1;
  }
  const int64_t rows = out->storage.super_group;
  for (int64_t row = 0; row < out->param_rows; row += rows) {
    for (int64_t g = 0; g < out->groups; ++g) {
      const int64_t overflow =
          IntColumn(out, row, g).StoreScales(&out->super[(row / rows * out->groups + g) * 4]);
      if (overflow >= 0 && (first < 0 || overflow < first)) first = overflow;
    }
  }
  return first;
}

void StoreIntZeros(const std::vector<float>& zeros, const std::vector<uint8_t>& empty, Coded* out) {
  const int64_t rows = out->storage.super_group;
  for (int64_t row = 0; row < out->param_rows; row += rows) {
    for (int64_t g = 0; g < out->groups; ++g) {
      float* super = &out->super[(row / rows * out->groups + g) * 4 + 2];
      IntColumn(out, row, g).StoreZeros(zeros, empty, super);
    }
  }
}

// Without real zeros the second half of Coded::super and the zero codes say nothing.
void NoIntZeros(Coded* out) {
  std::fill(out->zero_codes.begin(), out->zero_codes.end(), 0);
  for (size_t i = 0; i < out->super.size(); i += 4) {
    out->super[i + 2] = 1.0f;
    out->super[i + 3] = 0.0f;
  }
}

}  // namespace

Spec FirstLevelSpec(const Spec& spec) {
  Spec first = spec;
  if (!HasSecondLevel(spec.storage)) return first;
  first.storage.kind = StorageKind::kF32;
  first.levels.zero = ZeroPoint::kReal;
  return first;
}

int64_t StoreSecondLevel(const std::vector<float>& zeros, float scale_offset, Coded* out) {
  const std::vector<float> first = out->scales;
  const int64_t overflow = StoreScales(scale_offset, out);
  const bool is_int = out->storage.kind == StorageKind::kInt;
  if (!out->levels.symmetric()) {
    const std::vector<float> moved = FollowScales(zeros, first, *out);
    for (size_t i = 0; i < out->zeros.size(); ++i) out->zeros[i] = static_cast<uint8_t>(moved[i]);
    if (is_int && out->levels.real_zero()) {
      std::vector<uint8_t> empty(first.size());
      for (size_t i = 0; i < first.size(); ++i) empty[i] = first[i] == 0.0f;
      StoreIntZeros(moved, empty, out);
      return overflow;
    }
    for (size_t i = 0; i < out->real_zeros.size(); ++i) {
      out->real_zeros[i] = RoundTo(ZeroType(out->storage), moved[i]);
    }
  } else {
    std::fill(out->zeros.begin(), out->zeros.end(), out->levels.middle_code());
  }
  if (is_int) NoIntZeros(out);
  return overflow;
}

}  // namespace quantd
