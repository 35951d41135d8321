// What public layouts refuse, axis by axis; plain takes all of it.
#include "workers/pack/container.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/workers/pack/samples.h"

namespace quantd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A spec that each public layout takes at 32 x 64.
Spec Taken(const std::string& layout) {
  if (layout == "int-quantized") return RowSpec(8);
  if (layout == "float-quantized") {
    return Stored(StorageKind::kBF16, Minifloat(NumberFormat::kE4M3, RowSpec(8)));
  }
  if (layout == "nvfp4-pack-quantized") {
    return Stored(StorageKind::kE4M3, Minifloat(NumberFormat::kE2M1, GroupSpec(4, 16)));
  }
  if (layout == "mxfp4-pack-quantized") {
    return Stored(StorageKind::kE8M0, Minifloat(NumberFormat::kE2M1, GroupSpec(4, 32)));
  }
  if (layout == "mxfp8-quantized") {
    return Stored(StorageKind::kE8M0, Minifloat(NumberFormat::kE4M3, GroupSpec(4, 32)));
  }
  if (layout == "bitsandbytes") {
    Spec spec = Stored(StorageKind::kF32, GroupSpec(4, 64));
    spec.levels.kind = LevelKind::kFixedTable;
    return spec;
  }
  if (layout == "spqr") return SpqrSpec();
  if (layout == "aqlm") return AdditiveSpec(2, 8);
  return GroupSpec(4, 32);
}

class ContainerTest : public ::testing::TestWithParam<std::string> {
 protected:
  // Expects a refusal of the taken spec after `change`, and that it names all of `words`.
  void ExpectRefused(const std::function<void(Spec*)>& change,
                     const std::vector<std::string>& words) {
    Spec spec = Taken(GetParam());
    change(&spec);
    const std::string message = Message(LayoutNamed(GetParam()).Accepts(spec, 32, 64));
    EXPECT_THAT(message, HasSubstr("'" + GetParam() + "'"));
    for (const std::string& word : words) EXPECT_THAT(message, HasSubstr(word));
    EXPECT_THAT(message, HasSubstr("it takes"));
  }
};

TEST_P(ContainerTest, TakesItsOwn) {
  const absl::Status status = LayoutNamed(GetParam()).Accepts(Taken(GetParam()), 32, 64);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_P(ContainerTest, RefusesOtherLevels) {
  for (int kind = 1; kind <= 7; ++kind) {
    Spec spec = Taken(GetParam());
    if (static_cast<LevelKind>(kind) == spec.levels.kind) continue;
    spec.levels.kind = static_cast<LevelKind>(kind);
    spec.levels.bits = kind == 6 ? 3 : 4;
    spec.levels.format = NumberFormat::kE2M1;
    EXPECT_THAT(Message(LayoutNamed(GetParam()).Accepts(spec, 32, 64)),
                AllOf(HasSubstr("levels = "), HasSubstr("plain")));
  }
}

TEST_P(ContainerTest, NamesTheLayoutsThatHoldAdditiveLevels) {
  if (GetParam() == "aqlm") return;
  EXPECT_THAT(
      Message(LayoutNamed(GetParam()).Accepts(AdditiveSpec(2, 8), 32, 64)),
      AllOf(HasSubstr("levels = additive"), HasSubstr("layout 'plain' or 'aqlm' can hold it")));
}

TEST_P(ContainerTest, RefusesParametersDownColumns) {
  ExpectRefused([](Spec* s) { s->partition.granularity = Granularity::kColumn; },
                {"granularity = column", "along rows", "plain"});
  ExpectRefused(
      [](Spec* s) {
        s->partition.granularity = Granularity::kGroup;
        s->partition.group_size = 16;
        s->partition.axis = GroupAxis::kIn;
      },
      {"group-axis = in", "along rows", "plain"});
}

TEST_P(ContainerTest, RefusesStoragesOfOthers) {
  int refused = 0;
  for (int kind = 1; kind <= 8; ++kind) {
    Spec spec = Taken(GetParam());
    spec.storage.kind = static_cast<StorageKind>(kind);
    const absl::Status status = LayoutNamed(GetParam()).Accepts(spec, 32, 64);
    if (status.ok()) continue;
    ++refused;
    EXPECT_THAT(Message(status),
                HasSubstr("storage = " + std::string(StorageKindName(spec.storage.kind))));
  }
  EXPECT_GE(refused, 4);
}

TEST_P(ContainerTest, RefusesRealZerosItCannotStore) {
  if (GetParam() == "spqr" || Taken(GetParam()).levels.kind != LevelKind::kAffineInt) return;
  ExpectRefused(
      [](Spec* s) {
        s->levels.symmetry = Symmetry::kAsymmetric;
        s->levels.zero = ZeroPoint::kReal;
      },
      {"zero = real", "integer"});
}

TEST_P(ContainerTest, RefusesExceptions) {
  if (GetParam() != "spqr") {
    ExpectRefused([](Spec* s) { s->exceptions.outliers = OutlierKind::kGradient; },
                  {"outliers = gradient", "no outliers"});
  }
  ExpectRefused([](Spec* s) { s->exceptions.kept_columns = 0.25; },
                {"kept-columns = 0.25", "no kept columns"});
  ExpectRefused([](Spec* s) { s->exceptions.recent_rows = 3; },
                {"recent-rows = 3", "no 16-bit rows"});
}

TEST_P(ContainerTest, RefusesColumnBitsAndRotations) {
  ExpectRefused([](Spec* s) { s->allocation.kind = AllocationKind::kColumnScore; },
                {"allocation = column-score", "one width"});
  ExpectRefused([](Spec* s) { s->transform.rotation = RotationKind::kInput; },
                {"rotation = input", "own basis"});
  ExpectRefused([](Spec* s) { s->transform.rotation = RotationKind::kBoth; },
                {"rotation = both", "own basis"});
}

TEST_P(ContainerTest, TakesMasksCorrectionsAndColumnScales) {
  Spec spec = Taken(GetParam());
  spec.exceptions.mask_kept = 2;
  spec.exceptions.mask_of = 4;
  spec.transform.correction = CorrectionKind::kQep;
  spec.transform.scaling = ScalingKind::kAwq;
  spec.allocation.kind = AllocationKind::kRoundOff;
  const Layout& layout = LayoutNamed(GetParam());
  ASSERT_TRUE(layout.Accepts(spec, 32, 64).ok());
  const auto decls = layout.Declare(spec, 32, 64);
  EXPECT_EQ(decls.back().suffix, ".column_scale");
  EXPECT_EQ(decls.back().dtype, DType::kF32);
  EXPECT_EQ(decls.back().shape, Shape{64});
  EXPECT_EQ(decls.size(), layout.Declare(Taken(GetParam()), 32, 64).size() + 1);
}

TEST_P(ContainerTest, AColumnScaleThatIsNoScaleIsNamed) {
  Spec spec = Taken(GetParam());
  spec.transform.scaling = ScalingKind::kSmooth;
  const Layout& layout = LayoutNamed(GetParam());
  auto tensors = PackWhole(layout, spec, RandomCoded(spec, 32, 64, 1));
  for (float bad : {0.0f, -1.0f, HUGE_VALF, NAN}) {
    tensors.back().bytes.As<float>()[9] = bad;
    EXPECT_THAT(Message(layout.UnpackShared(spec, 32, 64, ViewsOf(tensors)).status()),
                AllOf(HasSubstr(".column_scale"), HasSubstr("column 9")));
  }
}

INSTANTIATE_TEST_SUITE_P(PublicLayouts, ContainerTest,
                         ::testing::Values("compressed-tensors", "int-quantized", "float-quantized",
                                           "nvfp4-pack-quantized", "mxfp4-pack-quantized",
                                           "mxfp8-quantized", "gptq", "gptq-v2", "bitsandbytes",
                                           "spqr", "aqlm"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace quantd
