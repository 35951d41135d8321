// Where the bits of a model go: one cell a layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace quantd::pages {

struct BitCell {
  std::string name;
  double bits = 0;  // of a weight, all-in
  uint64_t parameters = 0;
  std::string title;  // what the pointer finds: plain text
};

// Layers of nearly the same bits, drawn in one colour.
struct BitClass {
  double least = 0;
  double most = 0;
  int colour = 0;  // b0..b6 of the style sheet
  uint64_t layers = 0;
  uint64_t parameters = 0;
};

// Ascending, at most seven; bits that are not finite and above 0 are in none.
std::vector<BitClass> ClassesOf(absl::Span<const BitCell> cells);

// The legend and the map: kinds of matrices by blocks where the names tell them, one strip in the
// layers' order elsewhere.
std::string BitMap(absl::Span<const BitCell> cells);

}  // namespace quantd::pages
