#include "tests/unit/workers/pack/layout_cases.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/unit/workers/pack/samples.h"
#include "workers/core/spec_names.h"
#include "workers/pack/storable.h"

namespace quantd {
namespace {

// Collects specs, then puts each on each shape.
class CaseList {
 public:
  void Add(const Spec& spec, std::vector<std::pair<int64_t, int64_t>> shapes) {
    for (const auto& [m, n] : shapes) cases.push_back({spec, m, n});
  }
  std::vector<LayoutCase> cases;
};

constexpr std::pair<int64_t, int64_t> kTiny[] = {{1, 1}, {3, 10}, {33, 64}, {70, 40}, {32, 64}};

std::vector<std::pair<int64_t, int64_t>> Tiny() { return {std::begin(kTiny), std::end(kTiny)}; }

Spec Column(Spec spec) {
  spec.partition.granularity = Granularity::kColumn;
  return spec;
}

Spec DownColumns(Spec spec) {
  spec.partition.axis = GroupAxis::kIn;
  return spec;
}

Spec OfKind(LevelKind kind, Spec spec) {
  spec.levels.kind = kind;
  if (spec.levels.fixed_bits() != 0) spec.levels.bits = spec.levels.fixed_bits();
  return spec;
}

Spec RealZero(Spec spec) {
  spec = Asymmetric(std::move(spec));
  spec.levels.zero = ZeroPoint::kReal;
  return spec;
}

void AddAffine(CaseList* list) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (Spec spec : {GroupSpec(bits, 32), GroupSpec(bits, 5), RowSpec(bits), TensorSpec(bits),
                      Column(GroupSpec(bits, 0)), DownColumns(GroupSpec(bits, 5)),
                      DownColumns(GroupSpec(bits, 32))}) {
      for (Symmetry symmetry : {Symmetry::kSymmetricMinMax, Symmetry::kAsymmetric}) {
        for (StorageKind kind : {StorageKind::kF16, StorageKind::kBF16, StorageKind::kF32}) {
          if (kind != StorageKind::kF16 && bits != 3 && bits != 8) continue;
          spec.levels.symmetry = symmetry;
          spec.storage.kind = kind;
          list->Add(spec, Tiny());
          if (kind != StorageKind::kF16) continue;
          list->Add(DynamicActOrder(spec), Tiny());
          // Only wide rows of codes need a large shape.
          if (spec.partition.group_size == 32) list->Add(spec, {{64, 544}});
        }
      }
    }
  }
}

void AddLevels(CaseList* list) {
  for (const Spec& base : {GroupSpec(4, 16), GroupSpec(4, 32), GroupSpec(4, 64), RowSpec(4),
                           TensorSpec(4), Column(RowSpec(4)), DownColumns(GroupSpec(4, 5))}) {
    for (StorageKind kind :
         {StorageKind::kF16, StorageKind::kBF16, StorageKind::kF32, StorageKind::kE8M0,
          StorageKind::kE4M3, StorageKind::kInt, StorageKind::kNested}) {
      const Spec spec = Stored(kind, base);
      for (NumberFormat format : {NumberFormat::kE2M1, NumberFormat::kE4M3, NumberFormat::kE5M2,
                                  NumberFormat::kE3M2, NumberFormat::kE2M3}) {
        list->Add(Minifloat(format, spec), {{3, 10}, {33, 64}, {300, 64}, {1, 32}, {40, 96}});
      }
      Spec table = OfKind(LevelKind::kFixedTable, spec);
      list->Add(table, {{3, 64}, {33, 128}, {300, 64}});
      table.levels.table = FixedTable::kFp4;
      list->Add(DynamicActOrder(table), {{3, 64}, {33, 128}});
      list->Add(OfKind(LevelKind::kCluster, spec), {{1, 1}, {3, 10}, {33, 63}, {32, 65}});
      for (int bits : {2, 3, 5}) {
        Spec own = spec;
        own.levels.bits = bits;
        list->Add(OfKind(LevelKind::kLearnedTable, own), {{1, 1}, {3, 10}, {33, 40}});
        list->Add(OfKind(LevelKind::kBinaryCoding, own), {{1, 1}, {3, 10}, {33, 40}});
        list->Add(RealZero(own), {{3, 10}, {33, 64}});
        list->Add(Asymmetric(own), {{33, 64}});
      }
      list->Add(DynamicActOrder(OfKind(LevelKind::kLearnedTable, spec)), {{33, 40}});
    }
  }
}

void AddSecondLevels(CaseList* list) {
  for (int bits : {2, 3, 8}) {
    for (int super_group : {1, 3, 16, 64}) {
      Spec spec = Stored(StorageKind::kInt, RealZero(GroupSpec(4, 8)));
      spec.storage.bits = bits;
      spec.storage.super_group = super_group;
      list->Add(spec, {{3, 10}, {33, 40}, {200, 16}});
      spec.levels.symmetry = Symmetry::kSymmetricAbsMax;
      list->Add(spec, {{33, 40}});
    }
  }
}

void AddExceptions(CaseList* list) {
  const Spec claq = [] {
    Spec spec = OfKind(LevelKind::kLearnedTable, Column(RowSpec(2)));
    spec.allocation.kind = AllocationKind::kColumnScore;
    spec.allocation.share = 0.3;
    return spec;
  }();
  std::vector<Spec> bases = {GroupSpec(4, 32),
                             Asymmetric(RowSpec(3)),
                             Column(GroupSpec(3, 1)),
                             claq,
                             DownColumns(OfKind(LevelKind::kLearnedTable, GroupSpec(2, 7))),
                             DynamicActOrder(GroupSpec(3, 8)),
                             SpqrSpec(),
                             DynamicActOrder(SpqrSpec())};
  for (int high_bits : {2, 3, 8}) {
    bases.push_back(claq);
    bases.back().allocation.high_bits = high_bits;
    bases.back().partition = DownColumns(GroupSpec(2, 9)).partition;
  }
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{1, 1},   {3, 10},  {33, 64},
                                                           {80, 48}, {48, 96}, {16, 16}};
  for (const Spec& base : bases) {
    list->Add(base, shapes);
    Spec spec = base;
    spec.transform.scaling = ScalingKind::kAwq;
    list->Add(spec, shapes);
    for (int kind = 2; kind <= 7; ++kind) {
      spec = base;
      spec.exceptions.outliers = static_cast<OutlierKind>(kind);
      spec.exceptions.share = 0.05;
      spec.exceptions.second_share = 0.2;
      spec.exceptions.column_share = 0.25;
      spec.exceptions.max_share = 0.3;
      list->Add(spec, shapes);
      spec.exceptions.kept_columns = 0.1;
      spec.transform.rotation = RotationKind::kInput;
      list->Add(spec, shapes);
    }
    spec.exceptions.recent_rows = 7;
    spec.transform.rotation = RotationKind::kBoth;
    spec.transform.scaling = ScalingKind::kSmooth;
    list->Add(spec, shapes);
    spec.exceptions.recent_rows = 1000;
    spec.exceptions.outliers = OutlierKind::kNone;
    list->Add(spec, shapes);
  }
}

// Large codebooks cost the bit-by-bit reference most of its time, so they have small patches.
void AddAdditive(CaseList* list) {
  for (int bits = 1; bits <= 12; ++bits) {
    for (int codebooks : {1, 2, 3, 4}) {
      const Spec spec = AdditiveSpec(codebooks, bits, 1, bits <= 6 ? 8 : 1);
      list->Add(spec, {{1, 8}, {33, 64}, {70, 40}});
      list->Add(PatchScales(spec), {{33, 40}});
    }
  }
  for (const auto& [out_group, in_group] :
       {std::pair(1, 1), {1, 4}, {1, 16}, {2, 8}, {3, 5}, {4, 2}, {64, 1}, {33, 7}}) {
    for (int bits : {2, 3, 8, 9}) {
      if (bits > 3 && out_group * in_group > 16) continue;
      const Spec spec = AdditiveSpec(2, bits, out_group, in_group);
      const std::vector<std::pair<int64_t, int64_t>> shapes = {
          {out_group, in_group}, {3 * out_group, 6 * in_group}, {70 * out_group, 2 * in_group}};
      list->Add(spec, shapes);
      list->Add(PatchScales(spec), shapes);
      for (int scale_bits : {2, 3, 8}) list->Add(PatchScales(spec, scale_bits), shapes);
    }
  }
  list->Add(AdditiveSpec(1, 16, 1, 2), {{33, 64}});
  list->Add(AdditiveSpec(1, 15, 2, 2), {{66, 6}});
  Spec scaled = AdditiveSpec(2, 4, 2, 4);
  scaled.transform.scaling = ScalingKind::kAwq;
  list->Add(scaled, {{66, 12}});
}

const std::vector<LayoutCase>& AllCases() {
  static const std::vector<LayoutCase>* const cases = [] {
    CaseList list;
    AddAffine(&list);
    AddLevels(&list);
    AddSecondLevels(&list);
    AddExceptions(&list);
    AddAdditive(&list);
    return new std::vector<LayoutCase>(std::move(list.cases));
  }();
  return *cases;
}

}  // namespace

std::vector<LayoutCase> AcceptedCases(const Layout& layout) {
  std::vector<LayoutCase> accepted;
  for (const LayoutCase& c : AllCases()) {
    if (layout.Accepts(c.spec, c.m, c.n).ok()) accepted.push_back(c);
  }
  return accepted;
}

std::string Describe(const Layout& layout, const LayoutCase& c) {
  const Spec& s = c.spec;
  if (s.levels.additive()) {
    return absl::StrCat(layout.name(), " additive ", s.levels.codebooks, "x",
                        s.levels.codebook_bits, " patches of ", s.levels.out_group, "x",
                        s.levels.in_group, " ", GranularityName(s.partition.granularity), " ",
                        StorageKindName(s.storage.kind), " ", c.m, "x", c.n);
  }
  return absl::StrCat(layout.name(), " ", LevelKindName(s.levels.kind), " bits ", s.levels.bits,
                      " ", SymmetryName(s.levels.symmetry), s.levels.real_zero() ? " real " : " ",
                      GranularityName(s.partition.granularity), " g", s.partition.group_size, " ",
                      GroupAxisName(s.partition.axis), " ", StorageKindName(s.storage.kind), " ",
                      kOutlierKindNames[static_cast<size_t>(s.exceptions.outliers)], " ", c.m, "x",
                      c.n);
}

}  // namespace quantd
