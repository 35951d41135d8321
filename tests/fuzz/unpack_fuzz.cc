// Arbitrary bytes through every layout's CheckPacked(), UnpackShared() and UnpackRows().
//
// The first kHeaderBytes choose layout, spec, shape and number of outliers. The rest is XORed over
// the tensors of a weight that the layout packed itself, so that an empty rest is a valid
// checkpoint and a short one is nearly valid. What unpacks must survive packing and unpacking
// again.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "workers/core/spec_counts.h"
#include "workers/pack/codebooks.h"
#include "workers/pack/layout.h"

namespace quantd {
namespace {

enum HeaderByte : size_t {
  kLayoutByte,
  kLevelsByte,
  kBitsByte,
  kSymmetryByte,     // low half symmetry, high half zero
  kFormatByte,       // format and table
  kGranularityByte,  // low half granularity, high half axis
  kGroupSizeByte,
  kStorageByte,  // low half kind, high half bits
  kSuperGroupByte,
  kOrderByte,
  kOutlierKindByte,
  kShareByte,
  kExceptionsByte,  // low half kept columns in 32nds, high half recent rows
  kAllocationByte,  // low half kind, high half high_bits
  kTransformByte,   // low half scaling, high half rotation
  kRowsByte,
  kColumnsByte,
  kStripeByte,
  kOutliersByte,    // how many the packed weight has, up to the bound
  kDeclTensorByte,  // which tensor's declaration is damaged, if any
  kDeclFieldByte,
  kBooksByte,  // additive: low half codebooks, high half codebook bits - 1
  kPatchByte,  // additive: low half out_group, high half in_group
  kHeaderBytes,
};

// Larger weights only make the target slow.
constexpr uint64_t kMaxBytes = uint64_t{1} << 20;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

int Low(uint8_t byte) { return byte & 15; }
int High(uint8_t byte) { return byte >> 4; }

Spec SpecFrom(const uint8_t* h) {
  Spec spec;
  spec.levels.kind = static_cast<LevelKind>(h[kLevelsByte] % 8);
  spec.levels.bits = h[kBitsByte] % 12;  // 2..8 are legal
  spec.levels.symmetry = static_cast<Symmetry>(Low(h[kSymmetryByte]) % 5);
  spec.levels.zero = static_cast<ZeroPoint>(High(h[kSymmetryByte]) % 3);
  spec.levels.format = static_cast<NumberFormat>(h[kFormatByte] % 6);
  spec.levels.table = static_cast<FixedTable>(h[kFormatByte] % 3);
  spec.levels.codebooks = Low(h[kBooksByte]);
  spec.levels.codebook_bits = High(h[kBooksByte]) + 1;
  spec.levels.out_group = Low(h[kPatchByte]);
  spec.levels.in_group = High(h[kPatchByte]);
  spec.partition.granularity = static_cast<Granularity>(Low(h[kGranularityByte]) % 5);
  spec.partition.axis = static_cast<GroupAxis>(High(h[kGranularityByte]) % 4);
  spec.partition.group_size = h[kGroupSizeByte];
  spec.partition.tail = TailPolicy::kShortLastGroup;
  spec.storage.kind = static_cast<StorageKind>(Low(h[kStorageByte]) % 9);
  spec.storage.bits = High(h[kStorageByte]);
  spec.storage.super_group = h[kSuperGroupByte];
  spec.solve.solver = Solver::kGptq;
  spec.solve.order = static_cast<Order>(1 + h[kOrderByte] % 3);
  spec.solve.timing = (h[kOrderByte] & 0x80) != 0 ? GroupTiming::kDynamic : GroupTiming::kStatic;
  Exceptions& e = spec.exceptions;
  e.outliers = static_cast<OutlierKind>(h[kOutlierKindByte] % 8);
  e.share = e.second_share = e.max_share = e.column_share = h[kShareByte] / 500.0;  // to 0.51
  e.kept_columns = Low(h[kExceptionsByte]) / 32.0;
  e.recent_rows = High(h[kExceptionsByte]);
  spec.allocation.kind = static_cast<AllocationKind>(Low(h[kAllocationByte]) % 4);
  spec.allocation.high_bits = High(h[kAllocationByte]);
  spec.allocation.share = 0.3;
  spec.transform.scaling = static_cast<ScalingKind>(Low(h[kTransformByte]) % 4);
  spec.transform.rotation = static_cast<RotationKind>(High(h[kTransformByte]) % 4);
  return spec;
}

// Damages one declaration; CheckPacked() must refuse, and must not read the bytes to do so.
void CheckDamagedDecl(const Layout& layout, const Spec& spec, int64_t m, int64_t n,
                      std::vector<PackedView> views, const uint8_t* h) {
  PackedView& view = views[h[kDeclTensorByte] % views.size()];
  switch (h[kDeclFieldByte] % 6) {
    case 0:
      view.decl.suffix += "_";
      break;
    case 1:
      view.decl.dtype = DType::kF64;
      break;
    case 2:
      view.decl.shape.push_back(1);
      break;
    case 3:
      view.decl.shape[0] = ~view.decl.shape[0];
      break;
    case 4:
      if (view.bytes.empty()) return;
      view.bytes.remove_suffix(1);
      break;
    default:
      views.pop_back();
      break;
  }
  Require(!CheckPacked(layout, spec, m, n, views).ok(), "CheckPacked() took a damaged declaration");
}

CodedShared NeutralShared(const Spec& spec, int64_t m, int64_t n) {
  CodedShared shared;
  shared.column_scale.assign(n, 1.0f);
  shared.input_signs.assign(n, 1);
  shared.output_signs.assign(m, 1);
  if (spec.levels.additive()) {
    const PackedDecl books = CodebooksDecl(spec.levels);
    shared.codebooks.assign(books.shape[0] * books.shape[1] * books.shape[2] * books.shape[3],
                            1.0f);
  }
  shared.table.assign(spec.levels.table_numbers(), 1.0f);
  shared.kept_columns.resize(KeptColumns(spec.exceptions, n));
  std::iota(shared.kept_columns.begin(), shared.kept_columns.end(), 0);
  if (spec.allocation.kind == AllocationKind::kColumnScore) {
    shared.column_bits.assign(n, static_cast<uint8_t>(spec.levels.bits));
    std::fill_n(shared.column_bits.begin(), HighBitColumns(spec.allocation, n),
                static_cast<uint8_t>(spec.allocation.high_bits));
  }
  return shared;
}

Coded Neutral(const Spec& spec, int64_t m, int64_t n, const CodedShared* shared) {
  Coded coded;
  coded.Reshape(spec, 0, m, m, n, shared);
  const auto fill = [](auto* values, auto value) { values->assign(values->size(), value); };
  fill(&coded.codes, uint8_t{0});
  fill(&coded.book_codes, uint16_t{0});
  fill(&coded.scales, 1.0f);
  fill(&coded.zeros, static_cast<uint8_t>(spec.levels.middle_code()));
  fill(&coded.real_zeros, 0.5f);
  fill(&coded.scale_codes, uint8_t{1});  // a number in every storage
  fill(&coded.zero_codes, uint8_t{1});
  fill(&coded.super, 1.0f);
  fill(&coded.tables, 1.0f);
  coded.kept.assign(m * static_cast<int64_t>(shared->kept_columns.size()), 2.0f);
  coded.recent.assign(RecentRows(spec.exceptions, m) * n, 3.0f);
  return coded;
}

// `count` outliers, as many to a row as fit.
OutlierTable NeutralOutliers(int64_t m, int64_t n, int64_t count) {
  OutlierTable table;
  table.begin.push_back(0);
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < n && static_cast<int64_t>(table.column.size()) < count; ++k) {
      table.column.push_back(static_cast<int32_t>(k));
      table.value.push_back(1.0f);
    }
    table.begin.push_back(static_cast<int32_t>(table.column.size()));
  }
  return table;
}

absl::StatusOr<std::vector<PackedTensor>> PackAll(const Layout& layout, const Spec& spec, int64_t m,
                                                  int64_t n, const Coded& coded,
                                                  const OutlierTable& outliers) {
  auto tensors = AllocatePacked(layout, spec, m, n);
  if (!tensors.ok()) return tensors;
  layout.PackShared(spec, m, n, *coded.shared, absl::MakeSpan(*tensors));
  layout.PackRows(coded, spec, m, absl::MakeSpan(*tensors));
  if (spec.exceptions.stores_outliers()) {
    Require(layout.PackOutliers(outliers, spec, m, absl::MakeSpan(*tensors)).ok(),
            "PackOutliers() below the bound");
  }
  return tensors;
}

bool SameCoded(const Coded& a, const Coded& b) {
  return a.codes == b.codes && a.book_codes == b.book_codes && a.zeros == b.zeros &&
         a.scales == b.scales && a.real_zeros == b.real_zeros && a.scale_codes == b.scale_codes &&
         a.zero_codes == b.zero_codes && a.super == b.super && a.tables == b.tables &&
         a.outliers == b.outliers && a.kept == b.kept && a.recent == b.recent;
}

// Packs what was unpacked and expects to read it back.
void CheckRoundTrip(const Layout& layout, const Spec& spec, int64_t m, int64_t n,
                    const Coded& coded) {
  // With one set of parameters per tensor only the stripe of row 0 carries it.
  if (coded.row_begin > 0 && spec.partition.granularity == Granularity::kTensor) return;
  OutlierTable outliers = coded.outliers;
  outliers.begin.insert(outliers.begin.begin(), coded.row_begin, 0);
  const auto again = PackAll(layout, spec, m, n, coded, outliers);
  Require(again.ok(), "AllocatePacked() of an accepted shape");
  const auto shared = layout.UnpackShared(spec, m, n, ViewsOf(*again));
  Require(shared.ok(), "UnpackShared() of packed bytes");
  Require(*shared == *coded.shared, "shared parts come back");
  Coded back;
  Require(
      layout.UnpackRows(spec, m, n, ViewsOf(*again), *shared, coded.row_begin, coded.rows, &back)
          .ok(),
      "UnpackRows() of packed bytes");
  Require(SameCoded(coded, back), "unpack(pack(x)) == x");
}

void CheckRanges(const Coded& coded) {
  for (uint16_t code : coded.book_codes) {
    Require(code < coded.levels.entries(), "additive codes in range");
  }
  for (uint8_t code : coded.codes) Require(code <= coded.levels.max_code(), "codes in range");
  for (uint8_t zero : coded.zeros) Require(zero <= coded.levels.max_code(), "zeros in range");
  for (int64_t k = 0; k < coded.cols; ++k) {
    Require(coded.GroupOf(k) >= 0 && coded.GroupOf(k) < coded.groups, "groups in range");
  }
  for (const std::vector<float>* numbers :
       {&coded.scales, &coded.real_zeros, &coded.super, &coded.tables, &coded.kept, &coded.recent,
        &coded.outliers.value, &coded.shared->codebooks}) {
    for (float number : *numbers) Require(std::isfinite(number), "numbers are finite");
  }
  for (int32_t column : coded.outliers.column) {
    Require(column >= 0 && column < coded.cols, "outliers in range");
  }
}

void Run(const uint8_t* data, size_t size) {
  if (size < kHeaderBytes) return;
  const auto layouts = AllLayouts();
  const Layout& layout = *layouts[data[kLayoutByte] % layouts.size()];
  const Spec spec = SpecFrom(data);
  const int64_t m = data[kRowsByte] % 97;
  const int64_t n = data[kColumnsByte];
  if (!layout.Accepts(spec, m, n).ok() || PackedBytes(layout, spec, m, n) > kMaxBytes) return;
  const CodedShared neutral_shared = NeutralShared(spec, m, n);
  const int64_t most = MaxOutliers(spec.exceptions, m, n);
  auto tensors = PackAll(layout, spec, m, n, Neutral(spec, m, n, &neutral_shared),
                         NeutralOutliers(m, n, std::min<int64_t>(most, data[kOutliersByte])));
  Require(tensors.ok(), "AllocatePacked() of an accepted shape");

  size_t at = kHeaderBytes;
  for (PackedTensor& tensor : *tensors) {
    for (uint8_t& byte : tensor.bytes.As<uint8_t>()) {
      if (at == size) break;
      byte ^= data[at++];
    }
  }
  const std::vector<PackedView> views = ViewsOf(*tensors);
  CheckDamagedDecl(layout, spec, m, n, views, data);
  Require(CheckPacked(layout, spec, m, n, views).ok(), "CheckPacked() of packed tensors");

  const auto shared = layout.UnpackShared(spec, m, n, views);
  if (!shared.ok()) return;
  const int64_t step = std::lcm(layout.StripeGranule(spec), spec.partition.GroupRows(m));
  const int64_t begin = data[kStripeByte] % ((m + step - 1) / step) * step;
  Coded coded;
  if (!layout.UnpackRows(spec, m, n, views, *shared, begin, m - begin, &coded).ok()) return;
  CheckRanges(coded);
  CheckRoundTrip(layout, spec, m, n, coded);
}

}  // namespace
}  // namespace quantd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quantd::Run(data, size);
  return 0;
}
