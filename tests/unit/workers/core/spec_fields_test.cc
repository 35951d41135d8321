#include "workers/core/spec_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

namespace quantd {
namespace {

using ::testing::HasSubstr;
using Type = SpecField::Type;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Spec With(absl::string_view key, absl::string_view text) {
  Spec spec;
  const absl::Status status = SetSpecField(key, text, &spec);
  EXPECT_TRUE(status.ok()) << status;
  return spec;
}

void ExpectRefused(absl::string_view key, absl::string_view text, const std::string& fragment,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  Spec spec;
  const absl::Status status = SetSpecField(key, text, &spec);
  EXPECT_EQ(status.code(), code) << key << "=" << text << ": " << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(fragment));
}

// Values of a field that must survive text and back.
std::vector<double> ValuesOf(const SpecField& field) {
  std::vector<double> values;
  switch (field.type) {
    case Type::kEnum:
      for (size_t i = 1; i < field.names.size(); ++i) values.push_back(static_cast<double>(i));
      break;
    case Type::kBool:
      values = {0, 1};
      break;
    case Type::kInt:
      values = {field.min, field.min + 1, field.max};
      break;
    case Type::kReal:
      values = {field.min, field.max, std::min(field.max, field.min + 1.0 / 3),
                std::min(field.max, field.min + 0.1)};
      break;
  }
  return values;
}

TEST(SpecFieldsTest, NamesAndPathsAreDistinctAndSaid) {
  std::set<absl::string_view> keys;
  for (const SpecField& field : SpecFields()) {
    EXPECT_TRUE(keys.insert(field.name).second) << field.name;
    EXPECT_TRUE(field.path == field.name || keys.insert(field.path).second) << field.path;
    EXPECT_FALSE(field.help.empty()) << field.name;
    EXPECT_EQ(field.names.empty(), field.type != Type::kEnum) << field.name;
    EXPECT_EQ(FindSpecField(field.name), &field);
    EXPECT_EQ(FindSpecField(field.path), &field);
  }
  for (const SpecShorthand& shorthand : SpecShorthands()) {
    EXPECT_TRUE(keys.insert(shorthand.name).second) << shorthand.name;
  }
  EXPECT_EQ(FindSpecField("levels.nothing"), nullptr);
  EXPECT_EQ(FindSpecField(""), nullptr);
}

TEST(SpecFieldsTest, EnumNamesAreDistinctWords) {
  for (const SpecField& field : SpecFields()) {
    const std::set<absl::string_view> names(field.names.begin(), field.names.end());
    EXPECT_EQ(names.size(), field.names.size()) << field.name;
  }
}

TEST(SpecFieldsTest, EachSetterMovesItsOwnFieldAlone) {
  for (const SpecField& field : SpecFields()) {
    Spec spec;
    const double before = field.get(spec);
    double other = before;
    for (const double v : ValuesOf(field)) other = v != before ? v : other;
    ASSERT_NE(other, before) << field.name;
    field.set(&spec, other);
    for (const SpecField& each : SpecFields()) {
      EXPECT_EQ(each.get(spec), &each == &field ? other : each.get(Spec()))
          << field.name << " moved " << each.name;
    }
  }
}

TEST(SpecFieldsTest, DefaultsLieInTheirRanges) {
  for (const SpecField& field : SpecFields()) {
    const double value = field.get(Spec());
    if (field.type == Type::kEnum) {
      EXPECT_GE(value, 1) << field.name;
      EXPECT_LT(value, static_cast<double>(field.names.size())) << field.name;
    } else {
      EXPECT_TRUE(CheckFieldValue(field, value, field.name).ok()) << field.name;
    }
  }
}

TEST(SpecFieldsTest, EveryValueOfEveryFieldReadsBackFromItsText) {
  for (const SpecField& field : SpecFields()) {
    for (const double value : ValuesOf(field)) {
      Spec spec;
      field.set(&spec, value);
      const std::string text = SpecFieldText(field, spec);
      for (const absl::string_view key : {field.name, field.path}) {
        Spec back;
        const absl::Status status = SetSpecField(key, text, &back);
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_EQ(field.get(back), field.get(spec)) << key << "=" << text;
      }
    }
  }
}

TEST(SpecFieldsTest, TextIsTheShortestThatReadsBack) {
  Spec spec;
  spec.solve.damping.fraction = 0.01;
  EXPECT_EQ(SpecFieldText(*FindSpecField("damping"), spec), "0.01");
  spec.solve.damping.fraction = 1.0 / 3;
  EXPECT_EQ(SpecFieldText(*FindSpecField("damping"), spec), "0.3333333333333333");
  spec.partition.group_size = 1000000;
  EXPECT_EQ(SpecFieldText(*FindSpecField("group-size"), spec), "1000000");
  spec.transform.rotation_seed = 4294967295u;
  EXPECT_EQ(SpecFieldText(*FindSpecField("seed"), spec), "4294967295");
  spec.solve.order = static_cast<Order>(99);
  EXPECT_EQ(SpecFieldText(*FindSpecField("order"), spec), "unspecified");
}

TEST(SetSpecFieldTest, TakesAPrefixThatOnlyOneValueHas) {
  EXPECT_EQ(With("order", "act").solve.order, Order::kActOrder);
  EXPECT_EQ(With("symmetry", "symmetric-f").levels.symmetry, Symmetry::kSymmetricFullRange);
  EXPECT_EQ(With("group-axis", "o").partition.axis, GroupAxis::kOut);
  ExpectRefused("symmetry", "symmetric", "\"symmetric\" is not asymmetric, symmetric-minmax");
  ExpectRefused("storage", "e", "is not f16, bf16, f32, e8m0, e4m3, int, nested, table");
}

TEST(SetSpecFieldTest, AWholeNameWinsOverLongerOnes) {
  EXPECT_EQ(With("outliers", "range").exceptions.outliers, OutlierKind::kRange);
  EXPECT_EQ(With("outliers", "range-").exceptions.outliers, OutlierKind::kRangeFisher);
}

TEST(SetSpecFieldTest, RefusesWhatNamesNoValue) {
  ExpectRefused("order", "", "order: \"\" is not natural, act-order, group-aware");
  ExpectRefused("order", "unspecified", "is not natural");
  ExpectRefused("order", "act-order ", "is not natural");
  ExpectRefused("strided", "maybe", "strided: \"maybe\" is not true or false");
}

TEST(SetSpecFieldTest, UnknownKeysAreNotFound) {
  ExpectRefused("group_size", "64", "unknown key \"group_size\"", absl::StatusCode::kNotFound);
  ExpectRefused("", "64", "unknown key", absl::StatusCode::kNotFound);
}

TEST(SetSpecFieldTest, NumbersStayInTheirRange) {
  EXPECT_EQ(With("bits", "2").levels.bits, 2);
  EXPECT_EQ(With("levels.bits", "8").levels.bits, 8);
  ExpectRefused("bits", "9", "bits: \"9\" is not a whole number in 2..8");
  ExpectRefused("bits", "1", "2..8");
  ExpectRefused("bits", "3.5", "whole number");
  ExpectRefused("bits", "three", "whole number");
  ExpectRefused("bits", "nan", "whole number");
  ExpectRefused("bits", "", "whole number");
  ExpectRefused("group-size", "0", "1..1073741824");
  ExpectRefused("seed", "4294967296", "0..4294967295");
  ExpectRefused("outlier-share", "0.6", "a number in [0, 0.5]");
  ExpectRefused("outlier-share", "-0.1", "[0, 0.5]");
  ExpectRefused("damping", "inf", "[0, inf]");
  ExpectRefused("damping", "nan", "[0, inf]");
}

TEST(SetSpecFieldTest, ARefusedTextChangesNothing) {
  Spec spec;
  EXPECT_FALSE(SetSpecField("bits", "9", &spec).ok());
  EXPECT_FALSE(SetSpecField("order", "none", &spec).ok());
  for (const SpecField& field : SpecFields()) EXPECT_EQ(field.get(spec), field.get(Spec()));
}

TEST(CheckFieldValueTest, EndsOfTheRangeAreInside) {
  for (const SpecField& field : SpecFields()) {
    if (field.type == Type::kEnum) continue;
    EXPECT_TRUE(CheckFieldValue(field, field.min, "x").ok()) << field.name;
    EXPECT_TRUE(CheckFieldValue(field, field.max, "x").ok()) << field.name;
    for (const double bad : {field.min - 0.5, std::nextafter(field.max, kInf), kNan, kInf, -kInf}) {
      const absl::Status status = CheckFieldValue(field, bad, "spec.x");
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field.name << " " << bad;
      EXPECT_EQ(status.message().substr(0, 8), "spec.x: ");
      EXPECT_THAT(std::string(status.message()), HasSubstr(" is not in "));
    }
  }
  EXPECT_EQ(CheckFieldValue(*FindSpecField("bits"), 9, "spec.levels.bits").message(),
            "spec.levels.bits: 9 is not in 2..8");
  EXPECT_FALSE(CheckFieldValue(*FindSpecField("bits"), 4.5, "x").ok());
}

}  // namespace
}  // namespace quantd
