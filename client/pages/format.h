// Text and numbers of a page: escaping, and numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd::pages {

// Safe as text and inside of quoted attributes of HTML and XML. Bytes that are no UTF-8 and
// characters that XML does not allow become U+FFFD.
std::string Escape(absl::string_view text);

// Not escaped and with nothing to escape; "–" stands for what is not finite.
std::string Number(double value);  // four significant digits: "0.001235", "1,235", "1.2 × 10⁻⁷"
std::string TickNumber(double value);          // the same, short for large ones: "10⁶"
std::string Count(uint64_t count);             // "1,234,567"
std::string Bytes(uint64_t bytes);             // "1.50 GB" (powers of 1000), "312 B"
std::string Seconds(double value);             // "0.42 s", "3 min 05 s", "2 h 10 min"
std::string Percent(double share);             // "38%", "3.8%", "less than 0.1%"
std::string Bits(double bits);                 // at most two decimals: "4.13", "16"
std::string Share(double part, double whole);  // Percent of a quotient; "–" of nothing

// How `to` lies to `from` (both not negative): "38% lower", "12% higher", "3.1 times as high"; "the
// same" within half a thousandth.
struct ChangeWords {
  absl::string_view less;  // "lower"
  absl::string_view more;  // "higher"
  absl::string_view high;  // "high"
};
std::string Change(double from, double to, const ChangeWords& words);
// The same as a figure: "−38%", "+12%", "×3.1", "÷24", "0%"; "" where there is no quotient.
std::string ChangeFigure(double from, double to);

// "1 layer", "12 layers".
std::string Counted(uint64_t count, absl::string_view noun);

// Estimated width of UTF-8 text in the page's font, in the unit of `size`.
double TextWidth(absl::string_view text, double size);
// `text`, its middle replaced by "…" where it is wider than `width`. Not escaped.
std::string Shorten(absl::string_view text, double width, double size);

}  // namespace quantd::pages
