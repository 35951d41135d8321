#include "client/cli/quantities.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quantd::cli {
namespace {

TEST(QuantitiesTest, ReadsWhatPeopleType) {
  EXPECT_EQ(*ParseBytes("3.5GB"), 3'500'000'000u);
  EXPECT_EQ(*ParseBytes("900mb"), 900'000'000u);
  EXPECT_EQ(*ParseBytes("2GiB"), uint64_t{2} << 30);
  EXPECT_EQ(*ParseBytes("12345"), 12345u);
  EXPECT_EQ(*ParseBytes("12B"), 12u);
  EXPECT_EQ(*ParseBits("4"), 4);
  EXPECT_EQ(*ParseBits("4.25bpw"), 4.25);
  EXPECT_EQ(*ParseShare("0.9"), 0.9);
  EXPECT_EQ(*ParseShare("50%"), 0.5);
  EXPECT_EQ(*ParseBillions("7B"), 7);
  EXPECT_EQ(*ParseBillions("500m"), 0.5);
  EXPECT_EQ(*ParseBillions("7000000000"), 7);
  EXPECT_EQ(*ParseBillions("1.5T"), 1500);
  EXPECT_EQ(*ParseDelta("0.05"), 0.05);
  EXPECT_NEAR(*ParseDelta("10%"), std::log(1.1), 1e-15);
  EXPECT_EQ(*ParseNumber("1e-3"), 1e-3);
}

TEST(QuantitiesTest, RefusesTheRest) {
  for (const char* text : {"", "x", "-1", "GB", "1e30GB", "nan", "0"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
  for (const char* text : {"", "0", "-4", "4bits", "65", "1e20bpw", "inf", "nan"}) {
    EXPECT_FALSE(ParseBits(text).ok()) << text;
  }
  for (const char* text : {"1.1", "-0.1", "101%", "nan", "%"}) {
    EXPECT_FALSE(ParseShare(text).ok()) << text;
  }
  for (const char* text : {"7", "99999", "-7B", "B", "nan", "infB"}) {
    EXPECT_FALSE(ParseBillions(text).ok()) << text;
  }
  for (const char* text : {"0", "0%", "-1%", "nan", "inf", "ten"}) {
    EXPECT_FALSE(ParseDelta(text).ok()) << text;
  }
  EXPECT_FALSE(ParseNumber("inf").ok());
}

}  // namespace
}  // namespace quantd::cli
