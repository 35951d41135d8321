#include "client/pages/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace quantd::pages {
namespace {

TEST(FormatTest, EscapesWhatMarkupIsMadeOf) {
  EXPECT_EQ(Escape("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(Escape("größe 層 🙂"), "größe 層 🙂");
}

TEST(FormatTest, ReplacesWhatXmlDoesNotAllow) {
  EXPECT_EQ(Escape(absl::string_view("a\0b\x1b", 4)), "a\uFFFDb\uFFFD");
  EXPECT_EQ(Escape("\xff"), "\uFFFD");                                        // no UTF-8
  EXPECT_EQ(Escape("\xc0\xbc"), "\uFFFD\uFFFD");                              // "<", overlong
  EXPECT_EQ(Escape("\xe5\xb1"), "\uFFFD\uFFFD");                              // cut off
  EXPECT_EQ(Escape("\xef\xbf\xbf").find("\xef\xbf\xbf"), std::string::npos);  // U+FFFF
  EXPECT_EQ(Escape("\xed\xa0\x80").find("\xed\xa0"), std::string::npos);      // a surrogate
  EXPECT_EQ(Escape("a\tb\nc"), "a\tb\nc");
}

TEST(FormatTest, NumbersHaveFourDigitsThatCount) {
  EXPECT_EQ(Number(0), "0");
  EXPECT_EQ(Number(-0.0), "0");
  EXPECT_EQ(Number(4.12549), "4.125");
  EXPECT_EQ(Number(0.5), "0.5");
  EXPECT_EQ(Number(0.00123456), "0.001235");
  EXPECT_EQ(Number(99.996), "100");
  EXPECT_EQ(Number(1234567.8), "1,234,568");
  EXPECT_EQ(Number(-2.5), "−2.5");
  EXPECT_EQ(Number(1.2346e-7), "1.235 × 10⁻⁷");
  EXPECT_EQ(Number(1e-12), "10⁻¹²");
  EXPECT_EQ(Number(3e20), "3 × 10²⁰");
  EXPECT_EQ(TickNumber(500'000), "500,000");
  EXPECT_EQ(TickNumber(5'000'000), "5 × 10⁶");
}

TEST(FormatTest, NothingThatIsNotFiniteIsPrinted) {
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
    for (const std::string& text : {Number(value), Seconds(value), Percent(value), Bits(value)}) {
      EXPECT_EQ(text, "–");
    }
    EXPECT_EQ(ChangeFigure(1, value), "");
    EXPECT_EQ(ChangeFigure(value, 1), "");
  }
  EXPECT_EQ(Share(1, 0), "–");
}

TEST(FormatTest, SizesAndTimesReadWell) {
  EXPECT_EQ(Bytes(999), "999 B");
  EXPECT_EQ(Bytes(2'000'000'000), "2.00 GB");
  EXPECT_EQ(Seconds(0.421), "0.42 s");
  EXPECT_EQ(Seconds(185), "3 min 05 s");
  EXPECT_EQ(Seconds(7800), "2 h 10 min");
  EXPECT_EQ(Count(123456), "123,456");
  EXPECT_EQ(Counted(1, "layer"), "1 layer");
  EXPECT_EQ(Counted(1200, "layer"), "1,200 layers");
  EXPECT_EQ(Bits(4.125), "4.12");
  EXPECT_EQ(Bits(16), "16");
}

TEST(FormatTest, ASmallPartIsNotNoneAndAlmostAllIsNotAll) {
  EXPECT_EQ(Percent(0), "0%");
  EXPECT_EQ(Percent(0.0001), "less than 0.1%");
  EXPECT_EQ(Percent(0.038), "3.8%");
  EXPECT_EQ(Percent(0.383), "38%");
  EXPECT_EQ(Percent(0.99999), "99.9%");
  EXPECT_EQ(Percent(1), "100%");
}

TEST(FormatTest, ChangesTellTheirDirection) {
  const ChangeWords words = {"lower", "higher", "high"};
  EXPECT_EQ(Change(2, 1, words), "50% lower");
  EXPECT_EQ(Change(2, 2.5, words), "25% higher");
  EXPECT_EQ(Change(2, 7, words), "3.5 times as high");
  EXPECT_EQ(Change(2, 2.0001, words), "the same");
  EXPECT_EQ(Change(0, 0, words), "the same");
  EXPECT_EQ(Change(0, 1, words), "higher");
  EXPECT_EQ(ChangeFigure(2, 1), "−50%");
  EXPECT_EQ(ChangeFigure(2, 2.1), "+5.0%");
  EXPECT_EQ(ChangeFigure(2, 7), "×3.5");
  EXPECT_EQ(ChangeFigure(480, 2), "÷240");
  EXPECT_EQ(ChangeFigure(2, 0), "−100%");
  EXPECT_EQ(ChangeFigure(0, 1), "");
}

TEST(FormatTest, LongTextIsShortenedInItsMiddleBetweenCharacters) {
  EXPECT_EQ(Shorten("short", 100, 10), "short");
  const std::string name = "model.layers.17.层层层层层层.self_attn.q_proj";
  const std::string shown = Shorten(name, 120, 10);
  EXPECT_LE(TextWidth(shown, 10), 120);
  EXPECT_NE(shown.find("…"), std::string::npos);
  EXPECT_EQ(shown.substr(0, 3), "mod");
  EXPECT_EQ(shown.substr(shown.size() - 6), "q_proj");
  EXPECT_EQ(Escape(shown), shown);  // still UTF-8
  EXPECT_EQ(Shorten("abc", 0, 10), "…");
}

}  // namespace
}  // namespace quantd::pages
