// Arbitrary bytes through every layout's CheckPacked() and UnpackRows().
//
// The first kHeaderBytes choose layout, spec and shape. The rest is XORed over the tensors of a
// weight that the layout packed itself, so that an empty rest is a valid checkpoint and a short one
// is nearly valid. What unpacks must survive packing and unpacking again.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "workers/pack/layout.h"

namespace quantd {
namespace {

enum HeaderByte : size_t {
  kLayoutByte,
  kBitsByte,
  kSymmetryByte,
  kGranularityByte,
  kGroupSizeByte,
  kScaleByte,
  kOrderByte,
  kRowsByte,
  kColumnsByte,
  kStripeByte,
  kDeclTensorByte,  // which tensor's declaration is damaged, if any
  kDeclFieldByte,
  kHeaderBytes,
};

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

Spec SpecFrom(const uint8_t* h) {
  Spec spec;
  spec.levels.bits = h[kBitsByte] % 12;  // 2..8 are legal
  spec.levels.symmetry = static_cast<Symmetry>(h[kSymmetryByte] % 5);
  spec.partition.granularity = static_cast<Granularity>(h[kGranularityByte] % 4);
  spec.partition.group_size = h[kGroupSizeByte];
  spec.partition.tail = TailPolicy::kShortLastGroup;
  spec.scale_dtype = static_cast<DType>(h[kScaleByte] % 5);
  spec.solve.solver = Solver::kGptq;
  spec.solve.order = static_cast<Order>(1 + h[kOrderByte] % 3);
  spec.solve.timing = (h[kOrderByte] & 0x80) != 0 ? GroupTiming::kDynamic : GroupTiming::kStatic;
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
      view.decl.shape[0] = -view.decl.shape[0];
      break;
    case 4:
      view.bytes.remove_suffix(1);
      break;
    default:
      views.pop_back();
      break;
  }
  Require(!CheckPacked(layout, spec, m, n, views).ok(), "CheckPacked() took a damaged declaration");
}

bool SameCoded(const Coded& a, const Coded& b) {
  return a.codes == b.codes && a.zeros == b.zeros && a.group_of_column == b.group_of_column &&
         a.scales.size() == b.scales.size() &&
         std::memcmp(a.scales.data(), b.scales.data(), a.scales.size() * sizeof(float)) == 0;
}

Coded Neutral(const Spec& spec, int64_t m, int64_t n) {
  Coded coded;
  coded.Reshape(spec, 0, m, n);
  coded.scales.assign(coded.scales.size(), 1.0f);
  coded.zeros.assign(coded.zeros.size(), static_cast<uint8_t>(spec.levels.middle_code()));
  return coded;
}

// Packs what was unpacked and expects to read it back.
void CheckRoundTrip(const Layout& layout, const Spec& spec, int64_t m, int64_t n,
                    const Coded& coded) {
  auto again = AllocatePacked(layout, spec, m, n);
  Require(again.ok(), "AllocatePacked() of an accepted shape");
  layout.PackShared(spec, m, n, coded.group_of_column, absl::MakeSpan(*again));
  layout.PackRows(coded, spec, m, absl::MakeSpan(*again));
  Coded back;
  // With one scale per tensor only the stripe of row 0 carries it.
  const bool whole = coded.row_begin == 0 || spec.partition.granularity != Granularity::kTensor;
  if (!whole) return;
  Require(layout.UnpackRows(spec, m, n, ViewsOf(*again), coded.row_begin, coded.rows, &back).ok(),
          "UnpackRows() of packed bytes");
  Require(SameCoded(coded, back), "unpack(pack(x)) == x");
}

void Run(const uint8_t* data, size_t size) {
  if (size < kHeaderBytes) return;
  const auto layouts = AllLayouts();
  const Layout& layout = *layouts[data[kLayoutByte] % layouts.size()];
  const Spec spec = SpecFrom(data);
  const int64_t m = data[kRowsByte] % 97;
  const int64_t n = data[kColumnsByte];
  auto tensors = AllocatePacked(layout, spec, m, n);
  if (!tensors.ok()) return;
  layout.PackShared(spec, m, n, {}, absl::MakeSpan(*tensors));
  layout.PackRows(Neutral(spec, m, n), spec, m, absl::MakeSpan(*tensors));

  size_t at = kHeaderBytes;
  for (PackedTensor& tensor : *tensors) {
    for (uint8_t& byte : tensor.bytes.As<uint8_t>()) {
      if (at == size) break;
      byte ^= data[at++];
    }
  }
  const std::vector<PackedView> views = ViewsOf(*tensors);
  CheckDamagedDecl(layout, spec, m, n, views, data);
  Require(CheckPacked(layout, spec, m, n, views).ok(), "CheckPacked() of allocated tensors");

  const int64_t stripes = (m + Layout::kStripeGranule - 1) / Layout::kStripeGranule;
  const int64_t begin = data[kStripeByte] % stripes * Layout::kStripeGranule;
  Coded coded;
  const int64_t rows = m - begin;
  if (!layout.UnpackRows(spec, m, n, views, begin, rows, &coded).ok()) return;
  for (uint8_t code : coded.codes) Require(code <= spec.levels.max_code(), "codes in range");
  for (uint8_t zero : coded.zeros) Require(zero <= spec.levels.max_code(), "zeros in range");
  for (int64_t k = 0; k < n; ++k) {
    Require(coded.GroupOf(k) >= 0 && coded.GroupOf(k) < coded.groups, "groups in range");
  }
  CheckRoundTrip(layout, spec, m, n, coded);
}

}  // namespace
}  // namespace quantd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quantd::Run(data, size);
  return 0;
}
