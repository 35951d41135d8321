#include "workers/pack/bitsandbytes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/dynamic_map.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/pack/column_scale.h"
#include "workers/pack/container.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/quant_state.h"
#include "workers/pack/scales.h"
#include "workers/pack/storable.h"
#include "workers/pack/stored_scales.h"

namespace quantd {
namespace {

constexpr size_t kWeight = 0;
constexpr size_t kAbsMax = 1;
constexpr size_t kQuantMap = 2;
constexpr size_t kQuantState = 3;
constexpr size_t kNestedAbsMax = 4;  // nested only
constexpr size_t kNestedMap = 5;     // nested only

constexpr StorageKind kStorages[] = {StorageKind::kF32, StorageKind::kNested};
constexpr Container kContainer = {.levels = LevelKind::kFixedTable, .storages = kStorages};

using Table = std::array<float, 16>;

constexpr Table kNf4 = {-1.0f,
                        -0.6961928009986877f,
                        -0.5250730514526367f,
                        -0.39491748809814453f,
                        -0.28444138169288635f,
                        -0.18477343022823334f,
                        -0.09105003625154495f,
                        0.0f,
                        0.07958029955625534f,
                        0.16093020141124725f,
                        0.24611230194568634f,
                        0.33791524171829224f,
                        0.44070982933044434f,
                        0.5626170039176941f,
                        0.7229568362236023f,
                        1.0f};
constexpr float kTwelfth[8] = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};

Table QuantMap(FixedTable table) {
  if (table == FixedTable::kNf4) return kNf4;
  Table map;
  for (int code = 0; code < 8; ++code) {
    map[code] = kTwelfth[code] / 12.0f;
    map[code + 8] = 0.0f - map[code];
  }
  return map;
}

bool IsNested(const Spec& spec) { return spec.storage.kind == StorageKind::kNested; }

QuantState StateOf(const Spec& spec, int64_t m, int64_t n) {
  return {.type = spec.levels.table == FixedTable::kNf4 ? "nf4" : "fp4",
          .block = spec.partition.group_size,
          .rows = m,
          .columns = n,
          .nested = IsNested(spec)};
}

bool IsBlockSize(int64_t size) { return size >= 64 && size <= 4096 && (size & (size - 1)) == 0; }

// OK if the stored map is `want`, number by number; another one would decode to other weights.
absl::Status CheckMap(const PackedView& in, absl::Span<const float> want) {
  for (size_t i = 0; i < want.size(); ++i) {
    float have;
    std::memcpy(&have, in.bytes.data() + i * sizeof have, sizeof have);
    // Written so that a NaN differs. Maps from other writers may be off in the last bit.
    if (!(std::fabs(have - want[i]) <= 1e-6f * std::fabs(want[i]))) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", in.decl.suffix, "': entry ", i,
                                                     " is ", have, ", not ", want[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BitsAndBytesLayout::Accepts(const Spec& spec, int64_t m, int64_t n) const {
  QUANTD_RETURN_IF_ERROR(CheckStorable(name(), spec, m, n));
  QUANTD_RETURN_IF_ERROR(CheckContainer(name(), spec, kContainer));
  if (spec.partition.granularity != Granularity::kGroup) {
    return CannotStore(name(), "granularity", GranularityName(spec.partition.granularity), "group");
  }
  const int64_t block = spec.partition.group_size;
  if (!IsBlockSize(block)) {
    return CannotStore(name(), "group_size", absl::StrCat(block), "powers of two from 64 to 4096");
  }
  if (n % block != 0) {
    return CannotStore(
        name(), "shape", ShapeString({m, n}),
        absl::StrCat("rows of whole blocks of ", block, ", because its blocks run on across rows"));
  }
  if (NeedsGroupIndex(spec, n)) {
    return CannotStore(name(), "group timing", GroupTimingName(spec.solve.timing),
                       "groups of neighbouring columns; use static timing or natural order");
  }
  return absl::OkStatus();
}

std::vector<PackedDecl> BitsAndBytesLayout::Declare(const Spec& spec, int64_t m, int64_t n) const {
  const int64_t blocks = m * (n / spec.partition.group_size);
  const QuantState state = StateOf(spec, m, n);
  std::vector<PackedDecl> decls = {
      {".weight", DType::kU8, {m * n / 2, 1}},
      {".weight.absmax", state.nested ? DType::kU8 : DType::kF32, {blocks}},
      {".weight.quant_map", DType::kF32, {16}},
      {absl::StrCat(".weight.quant_state.bitsandbytes__", state.type),
       DType::kU8,
       {QuantStateLength(state)}},
  };
  if (state.nested) {
    decls.push_back({".weight.nested_absmax", DType::kF32, {CeilDiv(blocks, kNestedRun)}});
    decls.push_back({".weight.nested_quant_map", DType::kF32, {256}});
  }
  DeclareColumnScale(spec, n, &decls);
  return decls;
}

int64_t BitsAndBytesLayout::StripeGranule(const Spec& spec) const {
  return IsNested(spec) ? kNestedRun : kStripeGranule;  // no stripe ends inside a run of scales
}

void BitsAndBytesLayout::PackShared(const Spec& spec, int64_t m, int64_t n,
                                    const CodedShared& shared, absl::Span<PackedTensor> out) const {
  const Table map = QuantMap(spec.levels.table);
  std::memcpy(out[kQuantMap].bytes.data(), map.data(), sizeof map);
  QuantState state = StateOf(spec, m, n);
  state.offset = shared.scale_offset;
  const std::string text = QuantStateText(state);
  std::memcpy(out[kQuantState].bytes.data(), text.data(), text.size());
  if (state.nested) {
    std::memcpy(out[kNestedMap].bytes.data(), DynamicMap().data(), sizeof DynamicMap());
  }
  StoreColumnScale(spec, shared, out);
}

void BitsAndBytesLayout::PackRows(const Coded& coded, const Spec& spec, int64_t,
                                  absl::Span<PackedTensor> out) const {
  const int64_t pairs = coded.rows * coded.cols / 2;
  uint8_t* packed = out[kWeight].bytes.As<uint8_t>().data() + coded.row_begin * coded.cols / 2;
  const uint8_t* codes = coded.codes.data();
  for (int64_t i = 0; i < pairs; ++i) {
    packed[i] = static_cast<uint8_t>(codes[2 * i] << 4 | (codes[2 * i + 1] & 0xF));
  }
  if (!IsNested(spec)) {
    StoreScales(coded, {DType::kF32, coded.groups, 1}, out[kAbsMax].bytes.data());
    return;
  }
  const int64_t first = coded.row_begin * coded.groups;
  std::memcpy(out[kAbsMax].bytes.data() + first, coded.scale_codes.data(),
              coded.scale_codes.size());
  std::memcpy(out[kNestedAbsMax].bytes.As<float>().data() + first / kNestedRun, coded.super.data(),
              coded.super.size() * sizeof(float));
}

absl::StatusOr<CodedShared> BitsAndBytesLayout::UnpackShared(
    const Spec& spec, int64_t m, int64_t n, absl::Span<const PackedView> in) const {
  QUANTD_RETURN_IF_ERROR(CheckMap(in[kQuantMap], QuantMap(spec.levels.table)));
  QuantState state = StateOf(spec, m, n);
  const PackedView& text = in[kQuantState];
  const absl::Status parsed = ParseQuantState(
      {reinterpret_cast<const char*>(text.bytes.data()), text.bytes.size()}, &state);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", text.decl.suffix, "': ", parsed.message()));
  }
  CodedShared shared;
  shared.scale_offset = state.offset;
  if (state.nested) QUANTD_RETURN_IF_ERROR(CheckMap(in[kNestedMap], DynamicMap()));
  QUANTD_RETURN_IF_ERROR(LoadColumnScale(spec, in, &shared));
  return shared;
}

absl::Status BitsAndBytesLayout::UnpackRows(const Spec& spec, int64_t m, int64_t n,
                                            absl::Span<const PackedView> in,
                                            const CodedShared& shared, int64_t row_begin,
                                            int64_t rows, Coded* out) const {
  out->Reshape(spec, row_begin, rows, m, n, &shared);
  const uint8_t* packed = BytesOf(in[kWeight]) + row_begin * n / 2;
  for (int64_t i = 0; i < rows * n / 2; ++i) {
    out->codes[2 * i] = packed[i] >> 4;
    out->codes[2 * i + 1] = packed[i] & 0xF;
  }
  if (!IsNested(spec)) return LoadScales(in[kAbsMax], {DType::kF32, out->groups, 1}, out);
  const int64_t first = row_begin * out->groups;
  std::memcpy(out->scale_codes.data(), BytesOf(in[kAbsMax]) + first, out->scale_codes.size());
  std::memcpy(out->super.data(), BytesOf(in[kNestedAbsMax]) + first / kNestedRun * sizeof(float),
              out->super.size() * sizeof(float));
  for (size_t i = 0; i < out->super.size(); ++i) {
    if (!std::isfinite(out->super[i])) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", in[kNestedAbsMax].decl.suffix,
                                                     "': number ", first / kNestedRun + i, " is ",
                                                     out->super[i], ", not a finite number"));
    }
  }
  return DecodeScaleCodes(in[kAbsMax].decl.suffix, out);
}

}  // namespace quantd
