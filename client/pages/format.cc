#include "client/pages/format.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quantd::pages {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

bool AllowedInXml(char32_t c) {
  if (c < 0x20) return c == '\t' || c == '\n' || c == '\r';
  if (c >= 0x7F && c <= 0x9F) return false;  // control characters that no font shows
  return !(c >= 0xD800 && c <= 0xDFFF) && c != 0xFFFE && c != 0xFFFF && c <= 0x10FFFF;
}

// The character at text[*at], *at moved behind it; kReplacement for one byte that starts none.
char32_t NextCharacter(absl::string_view text, size_t* at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte((*at)++);
  if (lead < 0x80) return AllowedInXml(lead) ? lead : kReplacement;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (lead < 0xC2 || lead > 0xF4 || *at + more > text.size()) return kReplacement;
  char32_t c = lead & (0x3F >> more);
  for (int i = 0; i < more; ++i) {
    if ((byte(*at + i) & 0xC0) != 0x80) return kReplacement;
    c = (c << 6) | (byte(*at + i) & 0x3F);
  }
  constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  if (c < kLeast[more] || !AllowedInXml(c)) return kReplacement;
  *at += more;
  return c;
}

// Shares of the font's size, rounded up: labels may rather be too far apart than overlap.
double CharacterWidth(char32_t c) {
  if (c >= 0x1100) return c >= 0x2000 && c < 0x2E80 ? 0.7 : 1.0;
  if (c == 'i' || c == 'j' || c == 'l' || c == '.' || c == ',' || c == ' ' || c == 'I') return 0.32;
  if (c == 'm' || c == 'w' || c == 'M' || c == 'W') return 0.9;
  return c >= 'A' && c <= 'Z' ? 0.7 : 0.58;
}

std::string Superscript(int number) {
  constexpr const char* kDigits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = number < 0 ? "⁻" : "";
  for (const char digit : absl::StrCat(std::abs(number))) text += kDigits[digit - '0'];
  return text;
}

std::string TrimZeros(std::string text) {
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// Of a positive value; from 10 to the power `large` on in powers of ten.
std::string Positive(double value, int large) {
  const std::string scientific = absl::StrFormat("%.3e", value);
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(scientific.c_str() + e + 1);
  if (exponent < -4 || exponent >= large) {
    const std::string mantissa = TrimZeros(scientific.substr(0, e));
    return absl::StrCat(mantissa == "1" ? "" : mantissa + " × ", "10", Superscript(exponent));
  }
  if (exponent >= 3) return Count(static_cast<uint64_t>(std::llround(value)));
  return TrimZeros(absl::StrFormat("%.*f", 3 - exponent, value));
}

std::string Signed(double value, int large) {
  if (!std::isfinite(value)) return "–";
  if (value == 0) return "0";
  return value < 0 ? absl::StrCat("−", Positive(-value, large)) : Positive(value, large);
}

// A factor of 2 or more: "2.4", "1,200", "10⁶ or more".
std::string Times(double factor) {
  if (factor >= 1e6) return "10⁶ or more";
  if (factor < 100) return TrimZeros(absl::StrFormat("%.1f", factor));
  return Count(static_cast<uint64_t>(std::llround(factor)));
}

}  // namespace

std::string Escape(absl::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = NextCharacter(text, &at);
    if (c == kReplacement) {
      out += "\xEF\xBF\xBD";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out.append(text.data() + start, at - start);
    }
  }
  return out;
}

std::string Number(double value) { return Signed(value, 15); }

std::string TickNumber(double value) { return Signed(value, 6); }

std::string Count(uint64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

std::string Bytes(uint64_t bytes) {
  if (bytes < 1000) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  int unit = -1;
  while (value >= 1000 && unit < 5) {
    value /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.2f %s", value, kUnits[unit]);
}

std::string Seconds(double value) {
  if (!std::isfinite(value) || value < 0) return "–";
  if (value < 10) return absl::StrFormat("%.2f s", value);
  const int64_t whole = std::llround(std::min(value, 1e15));
  if (whole < 60) return absl::StrFormat("%d s", whole);
  if (whole < 3600) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%s h %02d min", Count(whole / 3600), whole % 3600 / 60);
}

std::string Percent(double share) {
  if (!std::isfinite(share)) return "–";
  const double percent = 100 * share;
  if (percent == 0) return "0%";
  if (std::abs(percent) < 0.1) return "less than 0.1%";
  if (std::abs(percent) < 9.95) return absl::StrFormat("%.1f%%", percent);
  // 99.96% is not all of it.
  if (percent < 100 && percent >= 99.5) return absl::StrFormat("%.1f%%", std::min(percent, 99.9));
  return absl::StrFormat("%.0f%%", percent);
}

std::string Bits(double bits) {
  if (!(std::abs(bits) < 1000)) return Number(bits);
  return TrimZeros(absl::StrFormat("%.2f", bits));
}

std::string Share(double part, double whole) { return whole > 0 ? Percent(part / whole) : "–"; }

std::string Change(double from, double to, const ChangeWords& words) {
  if (std::abs(to - from) <= 0.0005 * from) return "the same";
  if (from <= 0) return std::string(words.more);
  if (to / from >= 2) return absl::StrCat(Bits(to / from), " times as ", words.high);
  const std::string share = Percent(std::abs(to / from - 1));
  return absl::StrCat(share, " ", to < from ? words.less : words.more);
}

std::string ChangeFigure(double from, double to) {
  if (!(from > 0) || !std::isfinite(from) || !std::isfinite(to)) return "";
  const double ratio = to / from;
  if (ratio >= 2) return absl::StrCat("×", Times(ratio));
  // "−99.7%" hides how much is left.
  if (ratio > 0 && ratio <= 0.1) return absl::StrCat("÷", Times(1 / ratio));
  const double percent = 100 * std::abs(ratio - 1);
  if (percent < 0.05) return "0%";
  const std::string size =
      percent < 9.95 ? absl::StrFormat("%.1f%%", percent) : absl::StrFormat("%.0f%%", percent);
  return absl::StrCat(ratio < 1 ? "−" : "+", size);
}

std::string Counted(uint64_t count, absl::string_view noun) {
  return absl::StrCat(Count(count), " ", noun, count == 1 ? "" : "s");
}

double TextWidth(absl::string_view text, double size) {
  double width = 0;
  for (size_t at = 0; at < text.size();) width += CharacterWidth(NextCharacter(text, &at));
  return width * size;
}

std::string Shorten(absl::string_view text, double width, double size) {
  if (TextWidth(text, size) <= width) return std::string(text);
  std::vector<std::pair<size_t, double>> characters;  // where each starts, its width
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    characters.emplace_back(start, size * CharacterWidth(NextCharacter(text, &at)));
  }
  double left = width - size * 0.7;  // the ellipsis
  size_t head = 0;
  size_t tail = characters.size();
  // One third in front: the end of a layer's name tells more than its beginning.
  while (head < tail) {
    const bool front = 2 * head < characters.size() - tail;
    left -= characters[front ? head : tail - 1].second;
    if (left < 0) break;
    front ? ++head : --tail;
  }
  const auto offset = [&](size_t i) {
    return i < characters.size() ? characters[i].first : text.size();
  };
  return absl::StrCat(text.substr(0, offset(head)), "…", text.substr(offset(tail)));
}

}  // namespace quantd::pages
