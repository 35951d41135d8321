// Transformer blocks in layer names: kinds of matrices by block number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace quantd::pages {

struct LayerGrid {
  std::vector<std::string> kinds;       // "attention.self.query", in order of their first layer
  std::vector<uint64_t> blocks;         // numbers that occur, ascending
  std::vector<std::vector<int>> cells;  // [kind][block]: index of the name, -1: no such layer
  std::vector<int> others;              // names without a block, in their order
};

// Empty where the names do not have "layers.N.", "layer.N.", "h.N.", "blocks.N." or "block.N.", or
// where a grid of them would not be read more easily than a list.
std::optional<LayerGrid> FindGrid(absl::Span<const std::string> names);

}  // namespace quantd::pages
