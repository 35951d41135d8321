// Two errors a layer, before and after, on one logarithmic axis.
//
// Points and not bars: a logarithmic axis has no 0 that a bar could start from, but the distance of
// two points on it is their quotient.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace quantd::pages {

enum class PairMark {
  kGood,  // filled circle
  kPoor,  // diamond
  kBad,   // cross; at the axis where there is no error
};

struct Pair {
  std::string name;
  double before = 0;  // NaN: none
  double after = 0;   // NaN: none
  PairMark mark = PairMark::kGood;
  std::string title;  // what the pointer finds: plain text
};

struct PairWords {
  std::string before;  // "best uniform plan"
  std::string good;    // what each mark means; one without layers is left out of the legend
  std::string poor;
  std::string bad;
  std::string axis;  // "relative error of layer outputs"
};

// Legend and drawing. A row a layer while there are few; small drawings, one for each kind of
// matrix, where names tell the blocks; else the rows of the layers with the largest errors, with a
// word about how many are not drawn.
std::string PairChart(absl::Span<const Pair> pairs, const PairWords& words);

}  // namespace quantd::pages
