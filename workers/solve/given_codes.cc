#include "workers/solve/given_codes.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/core/spec_counts.h"
#include "workers/core/status_macros.h"
#include "workers/fit/vector_kmeans.h"

namespace quantd {
namespace {

// Weights that one thread takes at a time.
constexpr int64_t kTileWeights = int64_t{1} << 18;

absl::Status RoundAll(absl::string_view what, std::vector<float>* values) {
  for (size_t i = 0; i < values->size(); ++i) {
    const float rounded = RoundTo(DType::kF16, (*values)[i]);
    if (!std::isfinite(rounded)) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " ", i, " is ", (*values)[i], ", beyond the numbers of f16"));
    }
    (*values)[i] = rounded;
  }
  return absl::OkStatus();
}

// Calls take(out group, its weights [out_group, n]) for all of them, on several threads.
template <typename F>
absl::Status ForOutGroups(const AdditiveShape& shape, const WeightView& weight, Executor& executor,
                          const CancelToken& cancel, F take) {
  const int64_t weights = shape.out_group * shape.n;
  const int64_t tile = std::max<int64_t>(1, kTileWeights / weights);
  executor.ParallelFor(CeilDiv(shape.out_groups(), tile), [&](int64_t t) {
    const int64_t begin = t * tile, count = std::min(tile, shape.out_groups() - begin);
    std::vector<float> w(count * weights);
    weight.ReadRows(begin * shape.out_group, count * shape.out_group, w.data());
    for (int64_t i = 0; i < count && !cancel.cancelled(); ++i) {
      take(begin + i, w.data() + i * weights);
    }
  });
  return cancel.Check();
}

constexpr int64_t kPoll = int64_t{1} << 20;

// The `count` largest of some values: all whose bits are above `bits`, and `equal` of those that
// have them.
struct Limit {
  uint32_t bits = 0;
  int64_t equal = 0;
};

// Values that are not negative lie in the order of their bits: counted by the upper half of these,
// then, in the half that the limit falls into, by the lower one.
Limit LimitOf(const std::vector<float>& values, int64_t count, const CancelToken& cancel) {
  constexpr int kHalf = 16;
  Limit limit;
  limit.equal = count;
  for (const int shift : {kHalf, 0}) {
    std::vector<int64_t> have(1 << kHalf, 0);
    for (size_t i = 0; i < values.size(); ++i) {
      if (i % kPoll == 0 && cancel.cancelled()) return limit;
      const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
      if (shift == 0 && bits >> kHalf != limit.bits >> kHalf) continue;
      ++have[bits >> shift & ((1 << kHalf) - 1)];
    }
    uint32_t bin = (1 << kHalf) - 1;
    for (; bin > 0 && have[bin] < limit.equal; --bin) limit.equal -= have[bin];
    limit.bits |= bin << shift;
  }
  return limit;
}

}  // namespace

absl::Status RoundToStored(AdditiveCode* code) {
  QUANTD_RETURN_IF_ERROR(RoundAll("codebook number", &code->books));
  QUANTD_RETURN_IF_ERROR(RoundAll("scale", &code->scale_tables));
  // Entries of a table and the scales that name them round alike.
  return RoundAll("scale", &code->scales);
}

absl::Status NearestCodes(const AdditiveShape& shape, const WeightView& weight, Executor& executor,
                          const CancelToken& cancel, AdditiveCode* code) {
  const int64_t patch = shape.patch(), patches = shape.in_groups();
  std::vector<CenterIndex> books;
  for (int64_t m = 0; m < shape.codebooks; ++m) {
    books.emplace_back(code->books.data() + m * shape.entries * patch, shape.entries, patch);
  }
  code->codes.resize(shape.codes());
  return ForOutGroups(shape, weight, executor, cancel, [&](int64_t i, const float* w) {
    std::vector<float> rest(patches * patch);
    std::vector<int32_t> best(patches);
    for (int64_t j = 0; j < patches; ++j) {
      const float s = code->scales[i * shape.scale_columns + (shape.scale_columns > 1 ? j : 0)];
      for (int64_t a = 0; a < shape.out_group; ++a) {
        for (int64_t b = 0; b < shape.in_group; ++b) {
          const float value = w[a * shape.n + j * shape.in_group + b];
          rest[j * patch + a * shape.in_group + b] = s != 0 ? value / s : 0;
        }
      }
    }
    for (int64_t m = 0; m < shape.codebooks; ++m) {
      books[m].Nearest(rest.data(), patches, best.data());
      for (int64_t j = 0; j < patches; ++j) {
        code->codes[(i * patches + j) * shape.codebooks + m] = static_cast<uint16_t>(best[j]);
        const float* entry = code->books.data() + (m * shape.entries + best[j]) * patch;
        for (int64_t x = 0; x < patch; ++x) rest[j * patch + x] -= entry[x];
      }
    }
  });
}

absl::StatusOr<std::vector<uint8_t>> FarthestPatches(const AdditiveShape& shape,
                                                     const WeightView& weight,
                                                     const AdditiveCode& code, double share,
                                                     Executor& executor,
                                                     const CancelToken& cancel) {
  const int64_t patches = shape.in_groups(), total = shape.out_groups() * patches;
  std::vector<float> distance(total);
  const absl::Status status =
      ForOutGroups(shape, weight, executor, cancel, [&](int64_t i, const float* w) {
        std::vector<float> decoded(shape.out_group * shape.n);
        DecodeOutGroup(shape, code.books.data(), code.codes.data() + i * patches * shape.codebooks,
                       code.scales.data() + i * shape.scale_columns, decoded.data());
        for (int64_t j = 0; j < patches; ++j) {
          double sum = 0;
          for (int64_t a = 0; a < shape.out_group; ++a) {
            for (int64_t b = 0; b < shape.in_group; ++b) {
              const int64_t at = a * shape.n + j * shape.in_group + b;
              const double d = static_cast<double>(w[at]) - decoded[at];
              sum += d * d;
            }
          }
          distance[i * patches + j] = static_cast<float>(sum);
        }
      });
  QUANTD_RETURN_IF_ERROR(status);
  const int64_t count = std::max<int64_t>(1, ShareOf(share, total));
  const Limit limit = LimitOf(distance, count, cancel);
  std::vector<uint8_t> free(total, 0);
  int64_t left = limit.equal;
  for (int64_t i = 0; i < total; ++i) {
    if (i % kPoll == 0 && cancel.cancelled()) break;
    const uint32_t bits = std::bit_cast<uint32_t>(distance[i]);
    free[i] = bits > limit.bits || (bits == limit.bits && left-- > 0);
  }
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  return free;
}

}  // namespace quantd
