#include "workers/levels/level_table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "workers/levels/cluster.h"
#include "workers/levels/minifloat.h"
#include "workers/levels/minifloat_rule.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// bitsandbytes: quantiles of the normal distribution, with an exact 0 and +-1.
constexpr float kNf4[16] = {-1.0f,
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

// bitsandbytes: magnitudes of codes 0..7 in twelfths, and, from the smallest magnitude up, what |x|
// must exceed for the next one. The literals are its own, some of them rounded.
constexpr float kFp4Twelfths[8] = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};
constexpr float kFp4Thresholds[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                                     0.4166667f,  0.583333f,  0.8333333f};

// x > JustBelow(b) says x >= b.
float JustBelow(float bound) { return std::nextafter(bound, -kInfinity); }

// Levels ascending from (value, code) pairs of distinct values.
void SetLevels(std::vector<std::pair<float, uint8_t>> levels, LevelTable* table) {
  std::sort(levels.begin(), levels.end());
  table->count = static_cast<int>(levels.size());
  for (int i = 0; i < table->count; ++i) {
    table->level[i] = levels[i].first;
    table->code[i] = levels[i].second;
    table->largest = std::max(table->largest, std::fabs(levels[i].first));
  }
}

void SetMidpoints(LevelTable* table) {
  for (int i = 0; i + 1 < table->count; ++i) {
    table->bound[i] = 0.5f * (table->level[i] + table->level[i + 1]);
  }
}

LevelTable MakeNf4() {
  LevelTable table;
  table.bits = 4;
  std::vector<std::pair<float, uint8_t>> levels;
  for (int u = 0; u < 16; ++u) levels.emplace_back(kNf4[u], static_cast<uint8_t>(u));
  for (int u = 0; u < 256; ++u) table.value[u] = kNf4[u & 15];
  SetLevels(levels, &table);
  SetMidpoints(&table);
  return table;
}

LevelTable MakeFp4() {
  LevelTable table;
  table.bits = 4;
  for (int u = 0; u < 256; ++u) {
    const float magnitude = kFp4Twelfths[u & 7] / 12.0f;
    table.value[u] = (u & 8) != 0 && magnitude != 0.0f ? -magnitude : magnitude;
  }
  std::vector<std::pair<float, uint8_t>> levels;
  for (int u = 0; u < 16; ++u) {
    if (u != 8) levels.emplace_back(table.value[u], static_cast<uint8_t>(u));
  }
  SetLevels(levels, &table);
  for (int i = 0; i < 7; ++i) {
    table.bound[7 + i] = kFp4Thresholds[i];
    table.bound[6 - i] = JustBelow(-kFp4Thresholds[i]);
  }
  return table;
}

LevelTable MakeMinifloat(NumberFormat format) {
  const MinifloatFormat& f = FormatOf(format);
  LevelTable table;
  table.kind = LevelKind::kMinifloat;
  table.format = format;
  table.bits = f.bits;
  std::vector<std::pair<float, uint8_t>> levels;
  for (int u = 0; u < 256; ++u) {
    table.value[u] = MinifloatValue(format, static_cast<uint8_t>(u));
    if (u < 1 << f.bits && u != f.sign_bit() && std::isfinite(table.value[u])) {
      levels.emplace_back(table.value[u], static_cast<uint8_t>(u));
    }
  }
  SetLevels(levels, &table);
  SetMidpoints(&table);
  for (int i = 0; i + 1 < table.count; ++i) {
    const bool upper_even = (table.code[i + 1] & 1) == 0;
    if (upper_even) table.bound[i] = JustBelow(table.bound[i]);
  }
  return table;
}

LevelTable MakeCluster() {
  LevelTable table;
  table.kind = LevelKind::kCluster;
  table.bits = 3;
  std::vector<std::pair<float, uint8_t>> levels;
  for (int u = 0; u < 256; ++u) {
    table.value[u] = ClusterLevel(static_cast<uint8_t>(u));
    if (u < 8 && (u == kClusterZero || table.value[u] != 0.0f)) {
      levels.emplace_back(table.value[u], static_cast<uint8_t>(u));
    }
  }
  SetLevels(levels, &table);
  SetMidpoints(&table);
  return table;
}

struct Tables {
  LevelTable nf4 = MakeNf4();
  LevelTable fp4 = MakeFp4();
  LevelTable cluster = MakeCluster();
  LevelTable minifloats[5] = {
      MakeMinifloat(NumberFormat::kE2M1), MakeMinifloat(NumberFormat::kE4M3),
      MakeMinifloat(NumberFormat::kE5M2), MakeMinifloat(NumberFormat::kE3M2),
      MakeMinifloat(NumberFormat::kE2M3)};
};

const Tables& AllTables() {
  static const auto* tables = new Tables;
  return *tables;
}

}  // namespace

const LevelTable& TableOf(const Levels& levels) {
  const Tables& tables = AllTables();
  if (levels.kind == LevelKind::kMinifloat) {
    return tables.minifloats[std::max(0, static_cast<int>(levels.format) - 1)];
  }
  if (levels.kind == LevelKind::kCluster) return tables.cluster;
  return levels.table == FixedTable::kFp4 ? tables.fp4 : tables.nf4;
}

uint8_t NearestCode(const LevelTable& table, float x) {
  if (table.kind == LevelKind::kMinifloat) return MinifloatCode(table.format, x);
  int index = 0;
  for (int i = 0; i + 1 < table.count; ++i) index += x > table.bound[i];
  return table.code[index];
}

void RoundTableLanes(const LevelTable& table, const float* w, int64_t count, const float* scale,
                     const float* inverse, uint8_t* codes, float* decoded) {
  if (table.kind == LevelKind::kMinifloat) {
    ActiveRowKernels().round_minifloat_lanes(RuleOf(table.format), w, count, scale, inverse, codes,
                                             decoded);
    return;
  }
  RowLevels row;
  for (int i = 0; i < 16; ++i) {
    row.bound[i] = i + 1 < table.count ? table.bound[i] : kInfinity;
    row.level[i] = table.level[std::min(i, table.count - 1)];
    row.code[i] = table.code[std::min(i, table.count - 1)];
  }
  ActiveRowKernels().round_level_lanes(row, w, count, scale, inverse, codes, decoded);
}

}  // namespace quantd
