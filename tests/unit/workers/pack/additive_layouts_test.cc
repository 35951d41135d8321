// Layouts of additive levels: aqlm, and what plain adds to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/workers/pack/samples.h"

namespace quantd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

const Layout& Aqlm() { return LayoutNamed("aqlm"); }
const Layout& Plain() { return LayoutNamed("plain"); }

// One out group whose in groups have `codes`, over codebooks of zeros.
Coded WithCodes(const Spec& spec, std::vector<uint16_t> codes) {
  const int64_t n = static_cast<int64_t>(codes.size()) * spec.levels.in_group;
  Coded coded = RandomCoded(spec, spec.levels.out_group, n, 1);
  coded.book_codes = std::move(codes);
  return coded;
}

TEST(AqlmTest, GoldenCodesOfTwoBytes) {
  const Spec spec = AdditiveSpec(1, 16, 1, 2);
  const Coded coded = WithCodes(spec, {0, 1, 32767, 32768, 40000, 65535});
  auto tensors = PackWhole(Aqlm(), spec, coded);
  EXPECT_EQ(tensors[0].decl.dtype, DType::kI16);
  EXPECT_THAT(tensors[0].decl.shape, ElementsAre(1, 6, 1));
  EXPECT_EQ(Hex(tensors[0]), "00000100ff7f0080409cffff");
  Coded back;
  ASSERT_TRUE(UnpackWhole(Aqlm(), spec, 1, 12, ViewsOf(tensors), &back).ok());
  ExpectSameCoded(coded, back);
}

TEST(AqlmTest, GoldenCodesOfOneByte) {
  const Spec spec = AdditiveSpec(1, 8, 1, 2);
  const Coded coded = WithCodes(spec, {0, 127, 128, 255});
  auto tensors = PackWhole(Aqlm(), spec, coded);
  EXPECT_EQ(tensors[0].decl.dtype, DType::kI8);
  EXPECT_EQ(Hex(tensors[0]), "007f80ff");
  Coded back;
  ASSERT_TRUE(UnpackWhole(Aqlm(), spec, 1, 8, ViewsOf(tensors), &back).ok());
  EXPECT_THAT(back.book_codes, ElementsAre(0, 127, 128, 255));
}

// 2^B is what wraps, not the width of the type.
TEST(AqlmTest, CodesBetweenTheWidthsWrapByTheirOwnBits) {
  Spec spec = AdditiveSpec(1, 5, 1, 2);
  EXPECT_EQ(Hex(PackWhole(Aqlm(), spec, WithCodes(spec, {0, 15, 16, 31}))[0]), "000ff0ff");
  spec = AdditiveSpec(1, 12, 1, 2);
  EXPECT_EQ(Hex(PackWhole(Aqlm(), spec, WithCodes(spec, {1, 2047, 2048, 4095}))[0]),
            "0100ff0700f8ffff");
  spec = AdditiveSpec(1, 1, 1, 2);
  EXPECT_EQ(Hex(PackWhole(Aqlm(), spec, WithCodes(spec, {0, 1}))[0]), "00ff");
}

TEST(AqlmTest, EveryCodeOfEveryWidthComesBack) {
  for (int bits = 1; bits <= 16; ++bits) {
    const Spec spec = AdditiveSpec(1, bits, 1, 1);
    std::vector<uint16_t> all(spec.levels.entries());
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    const Coded coded = WithCodes(spec, all);
    for (const Layout* layout : {&Aqlm(), &Plain()}) {
      auto tensors = PackWhole(*layout, spec, coded);
      Coded back;
      ASSERT_TRUE(UnpackWhole(*layout, spec, 1, coded.cols, ViewsOf(tensors), &back).ok());
      ASSERT_THAT(back.book_codes, ElementsAreArray(all)) << bits;
    }
  }
}

TEST(AqlmTest, DeclaresTheTensorsOfTheFormat) {
  const auto decls = Aqlm().Declare(AdditiveSpec(3, 9, 2, 8), 64, 96);
  ASSERT_EQ(decls.size(), 3);
  EXPECT_EQ(decls[0].suffix, ".codes");
  EXPECT_EQ(decls[0].dtype, DType::kI16);
  EXPECT_THAT(decls[0].shape, ElementsAre(32, 12, 3));
  EXPECT_EQ(decls[1].suffix, ".codebooks");
  EXPECT_EQ(decls[1].dtype, DType::kF16);
  EXPECT_THAT(decls[1].shape, ElementsAre(3, 512, 2, 8));
  EXPECT_EQ(decls[2].suffix, ".scales");
  EXPECT_EQ(decls[2].dtype, DType::kF16);
  EXPECT_THAT(decls[2].shape, ElementsAre(32, 1, 1, 1));
  EXPECT_EQ(Aqlm().Declare(AdditiveSpec(2, 8), 64, 96)[0].dtype, DType::kI8);
}

TEST(AqlmTest, StripesAreWholeOutGroups) {
  EXPECT_EQ(Aqlm().StripeGranule(AdditiveSpec(2, 8)), 32);
  EXPECT_EQ(Aqlm().StripeGranule(AdditiveSpec(2, 8, 2)), 32);
  EXPECT_EQ(Aqlm().StripeGranule(AdditiveSpec(2, 8, 64)), 64);
  EXPECT_EQ(Aqlm().StripeGranule(AdditiveSpec(2, 8, 3)), 96);
  EXPECT_EQ(Plain().StripeGranule(AdditiveSpec(2, 8, 5)), 160);
}

// b = (16 g M 2^B + m n / g M B + 16 m / out_group) / (m n), arXiv 2401.06118, appendix H.
double BitsPerWeight(const Layout& layout, const Spec& spec, int64_t m, int64_t n) {
  return 8.0 * static_cast<double>(PackedBytes(layout, spec, m, n)) / static_cast<double>(m * n);
}

double PaperBits(const Levels& l, double m, double n) {
  const double g = l.out_group * l.in_group, entries = static_cast<double>(l.entries());
  return (16 * g * l.codebooks * entries + m * n / g * l.codebooks * l.codebook_bits +
          16 * m / l.out_group) /
         (m * n);
}

TEST(AdditiveBytesTest, EqualThePublishedBitsPerWeight) {
  EXPECT_NEAR(BitsPerWeight(Aqlm(), AdditiveSpec(1, 16), 4096, 4096), 2.504, 5e-4);
  EXPECT_NEAR(BitsPerWeight(Aqlm(), AdditiveSpec(2, 8), 28672, 8192), 2.002, 5e-4);
  EXPECT_NEAR(BitsPerWeight(Aqlm(), AdditiveSpec(1, 16), 11008, 4096), 2.19, 5e-3);
  for (const Spec& spec : {AdditiveSpec(1, 16), AdditiveSpec(2, 8), AdditiveSpec(1, 8, 1, 4),
                           AdditiveSpec(4, 8, 2, 8), AdditiveSpec(15, 8, 1, 64)}) {
    EXPECT_DOUBLE_EQ(BitsPerWeight(Aqlm(), spec, 4096, 1024), PaperBits(spec.levels, 4096, 1024));
  }
  // Widths between the types: only plain has the nominal size.
  for (const Spec& spec : {AdditiveSpec(2, 12), AdditiveSpec(1, 15), AdditiveSpec(3, 5, 2, 4)}) {
    EXPECT_DOUBLE_EQ(BitsPerWeight(Plain(), spec, 4096, 1024), PaperBits(spec.levels, 4096, 1024));
    EXPECT_GT(BitsPerWeight(Aqlm(), spec, 4096, 1024), PaperBits(spec.levels, 4096, 1024));
  }
}

TEST(AdditiveBytesTest, ScaleCodesAndTheirTablesCount) {
  const Spec rows = AdditiveSpec(2, 8), patches = PatchScales(rows), codes = PatchScales(rows, 3);
  const uint64_t base = PackedBytes(Plain(), rows, 64, 256) - 64 * 2;
  EXPECT_EQ(PackedBytes(Plain(), patches, 64, 256), base + 64 * 32 * 2);
  EXPECT_EQ(PackedBytes(Plain(), codes, 64, 256), base + 64 * (32 * 3 / 8 + 8 * 2));
}

TEST(AdditiveRulesTest, AqlmNamesWhatItDoesNotTake) {
  const auto refusal = [](const Spec& spec, int64_t m = 32, int64_t n = 64) {
    return Message(Aqlm().Accepts(spec, m, n));
  };
  EXPECT_THAT(refusal(PatchScales(AdditiveSpec(2, 8))),
              AllOf(HasSubstr("granularity = group"), HasSubstr("row"), HasSubstr("plain")));
  EXPECT_THAT(refusal(Stored(StorageKind::kBF16, AdditiveSpec(2, 8))),
              AllOf(HasSubstr("storage = bf16"), HasSubstr("f16")));
  EXPECT_THAT(refusal(AdditiveSpec(2, 8), 32, 60),
              AllOf(HasSubstr("shape = [32, 60]"), HasSubstr("in-group 8")));
  EXPECT_THAT(refusal(AdditiveSpec(2, 8, 3), 32, 64),
              AllOf(HasSubstr("shape = [32, 64]"), HasSubstr("out-group 3")));
  EXPECT_THAT(refusal(GroupSpec(4, 32)),
              AllOf(HasSubstr("levels = affine-int"), HasSubstr("additive only")));
}

TEST(AdditiveRulesTest, PlainNamesWhatHasNoMeaning) {
  const auto refusal = [](const Spec& spec, int64_t m = 32, int64_t n = 64) {
    return Message(Plain().Accepts(spec, m, n));
  };
  Spec spec = PatchScales(AdditiveSpec(2, 8));
  spec.partition.group_size = 16;
  EXPECT_THAT(refusal(spec), AllOf(HasSubstr("group_size = 16"), HasSubstr("in-group, 8")));
  spec = PatchScales(AdditiveSpec(2, 8));
  spec.partition.axis = GroupAxis::kIn;
  EXPECT_THAT(refusal(spec), HasSubstr("group-axis = in"));
  for (Granularity granularity : {Granularity::kTensor, Granularity::kColumn}) {
    spec = AdditiveSpec(2, 8);
    spec.partition.granularity = granularity;
    EXPECT_THAT(refusal(spec), AllOf(HasSubstr("granularity = "), HasSubstr("row or group")));
  }
  EXPECT_THAT(refusal(Stored(StorageKind::kTable, AdditiveSpec(2, 8))),
              AllOf(HasSubstr("storage = table"), HasSubstr("each patch")));
  EXPECT_THAT(refusal(Stored(StorageKind::kF32, AdditiveSpec(2, 8))),
              AllOf(HasSubstr("storage = f32"), HasSubstr("f16 or table")));
  EXPECT_THAT(refusal(Stored(StorageKind::kTable, GroupSpec(4, 32))),
              AllOf(HasSubstr("storage = table"), HasSubstr("additive")));
  EXPECT_THAT(refusal(DynamicActOrder(PatchScales(AdditiveSpec(2, 8)))),
              HasSubstr("neighbouring columns"));
  EXPECT_THAT(refusal(AdditiveSpec(2, 8), 32, 63), HasSubstr("shape = [32, 63]"));
  spec = AdditiveSpec(2, 8);
  spec.allocation.kind = AllocationKind::kColumnScore;
  EXPECT_THAT(refusal(spec), HasSubstr("allocation = column-score"));
}

// The second additive example of FORMAT.plain.md.
TEST(PlainAdditiveTest, GoldenScaleCodes) {
  const Spec spec = PatchScales(AdditiveSpec(2, 3, 1, 2), 2);
  Coded coded;
  CodedShared shared;
  for (int i = 0; i < 32; ++i) shared.codebooks.push_back(static_cast<float>(i) / 4.0f);
  coded.Reshape(spec, 0, 2, 2, 6, NewShared(shared));
  coded.book_codes = {1, 2, 3, 4, 5, 6, 7, 0, 7, 0, 7, 0};
  coded.scale_codes = {1, 0, 3, 2, 2, 2};
  coded.super = {0.5f, 1, 2, -4, 0.25f, 0.5f, 1, 2};
  coded.scales = {1, 0.5f, -4, 1, 1, 1};
  auto tensors = PackWhole(Plain(), spec, coded);
  ASSERT_EQ(tensors.size(), 4);
  EXPECT_THAT(tensors[0].decl.shape, ElementsAre(2, 3));
  EXPECT_EQ(Hex(TensorOf(tensors, ".codes")), "d15803c77100");
  EXPECT_EQ(Hex(TensorOf(tensors, ".scale_codes")), "312a");
  EXPECT_THAT(TensorOf(tensors, ".super").decl.shape, ElementsAre(2, 4));
  EXPECT_EQ(Hex(TensorOf(tensors, ".super")),
            "0038003c004000c4003400380"
            "03c0040");
  EXPECT_THAT(TensorOf(tensors, ".codebooks").decl.shape, ElementsAre(2, 8, 1, 2));
  Coded back;
  ASSERT_TRUE(UnpackWhole(Plain(), spec, 2, 6, ViewsOf(tensors), &back).ok());
  ExpectSameCoded(coded, back);
}

TEST(PlainAdditiveTest, TensorsAppearOnlyWhereTheyCarrySomething) {
  const auto suffixes = [](const Spec& spec) {
    std::vector<std::string> names;
    for (const PackedDecl& decl : Plain().Declare(spec, 64, 64)) names.push_back(decl.suffix);
    return names;
  };
  EXPECT_THAT(suffixes(AdditiveSpec(2, 8)), ElementsAre(".codes", ".scales", ".codebooks"));
  EXPECT_THAT(suffixes(PatchScales(AdditiveSpec(2, 8), 4)),
              ElementsAre(".codes", ".scale_codes", ".super", ".codebooks"));
  EXPECT_THAT(Plain().Declare(AdditiveSpec(2, 8, 4), 64, 64)[1].shape, ElementsAre(16, 1));
  EXPECT_THAT(Plain().Declare(PatchScales(AdditiveSpec(2, 8, 4)), 64, 64)[1].shape,
              ElementsAre(16, 8));
}

// Both layouts over the same damaged parts.
class AdditiveHostileTest : public ::testing::TestWithParam<std::string> {
 protected:
  const Layout& layout() const { return LayoutNamed(GetParam()); }
  std::string Error() {
    Coded coded;
    return Message(UnpackWhole(layout(), spec_, 66, 12, ViewsOf(tensors_), &coded));
  }

  const Spec spec_ = AdditiveSpec(3, 4, 2, 4);
  std::vector<PackedTensor> tensors_ = PackWhole(layout(), spec_, RandomCoded(spec_, 66, 12, 1));
};

TEST_P(AdditiveHostileTest, NumbersThatAreNotFiniteAreNamed) {
  const auto books = TensorOf(tensors_, ".codebooks").bytes.As<uint16_t>();
  for (uint16_t bad : {0x7C00, 0xFC00, 0x7E01}) {
    const uint16_t good = books[(16 + 5) * 8 + 3];
    books[(16 + 5) * 8 + 3] = bad;
    EXPECT_THAT(Error(), AllOf(HasSubstr("'.codebooks'"), HasSubstr("entry 5 of codebook 1"),
                               HasSubstr("not a finite number")));
    books[(16 + 5) * 8 + 3] = good;
  }
  const auto scales = TensorOf(tensors_, ".scales").bytes.As<uint16_t>();
  for (uint16_t bad : {0x7C00, 0xFC00, 0x7E01}) {
    scales[32] = bad;
    EXPECT_THAT(Error(), AllOf(HasSubstr("'.scales'"), HasSubstr("row 64")));
  }
}

TEST_P(AdditiveHostileTest, ZerosOfEitherSignAndTinyNumbersComeBack) {
  for (const char* suffix : {".codebooks", ".scales"}) {
    const auto numbers = TensorOf(tensors_, suffix).bytes.As<uint16_t>();
    numbers[0] = 0x8000;
    numbers[1] = 0x0000;
    numbers[2] = 0x0001;
    numbers[3] = 0xFBFF;
  }
  Coded coded;
  ASSERT_TRUE(UnpackWhole(layout(), spec_, 66, 12, ViewsOf(tensors_), &coded).ok());
  EXPECT_TRUE(std::signbit(coded.scales[0]));
  EXPECT_TRUE(std::signbit(coded.shared->codebooks[0]));
  EXPECT_EQ(coded.scales[2], std::ldexp(1.0f, -24));
  EXPECT_EQ(coded.shared->codebooks[3], -65504.0f);
  auto again = PackWhole(layout(), spec_, coded);
  for (size_t i = 0; i < again.size(); ++i) EXPECT_EQ(Hex(again[i]), Hex(tensors_[i]));
}

INSTANTIATE_TEST_SUITE_P(Layouts, AdditiveHostileTest, ::testing::Values("aqlm", "plain"),
                         [](const auto& info) { return info.param; });

TEST(AqlmHostileTest, CodesOutOfTheWrappedRangeAreNamed) {
  Spec spec = AdditiveSpec(3, 4, 2, 4);
  auto tensors = PackWhole(Aqlm(), spec, RandomCoded(spec, 66, 12, 1));
  const auto error = [&] {
    Coded coded;
    return Message(UnpackWhole(Aqlm(), spec, 66, 12, ViewsOf(tensors), &coded));
  };
  const auto bytes = tensors[0].bytes.As<int8_t>();
  for (int bad : {8, -9, 127, -128}) {
    bytes[(32 * 3 + 2) * 3 + 1] = static_cast<int8_t>(bad);
    EXPECT_THAT(error(),
                AllOf(HasSubstr("'.codes'"),
                      HasSubstr("out group 32, in group 2, codebook 1 is " + std::to_string(bad)),
                      HasSubstr("expected -8 to 7")));
  }
  for (int good : {7, -8}) {
    bytes[(32 * 3 + 2) * 3 + 1] = static_cast<int8_t>(good);
    Coded coded;
    EXPECT_TRUE(UnpackWhole(Aqlm(), spec, 66, 12, ViewsOf(tensors), &coded).ok());
  }

  spec = AdditiveSpec(1, 11, 1, 4);
  tensors = PackWhole(Aqlm(), spec, RandomCoded(spec, 66, 12, 1));
  const auto words = tensors[0].bytes.As<int16_t>();
  for (int bad : {1024, -1025, 32767, -32768}) {
    words[7] = static_cast<int16_t>(bad);
    EXPECT_THAT(error(),
                HasSubstr("out group 2, in group 1, codebook 0 is " + std::to_string(bad)));
  }
}

}  // namespace
}  // namespace quantd
