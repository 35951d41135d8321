#include "client/pages/layer_grid.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace quantd::pages {
namespace {

constexpr size_t kMostKinds = 32;
constexpr size_t kMostBlocks = 256;
constexpr size_t kMostOthers = 12;

// "model.layers.7.mlp.up_proj": "model", 7, "mlp.up_proj".
struct BlockName {
  std::string before;
  uint64_t block = 0;
  std::string kind;
};

bool HoldsBlocks(absl::string_view part) {
  return part == "layers" || part == "layer" || part == "h" || part == "blocks" || part == "block";
}

bool ReadNumber(absl::string_view part, uint64_t* number) {
  return !part.empty() && part.size() <= 6 &&
         std::all_of(part.begin(), part.end(), absl::ascii_isdigit) &&
         absl::SimpleAtoi(part, number);
}

std::optional<BlockName> ReadName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  // The innermost: stages of a hierarchical model hold blocks of their own.
  for (size_t i = parts.size(); i-- > 1;) {
    BlockName read;
    if (!HoldsBlocks(parts[i - 1]) || !ReadNumber(parts[i], &read.block)) continue;
    read.before = absl::StrJoin(parts.begin(), parts.begin() + i - 1, ".");
    read.kind = absl::StrJoin(parts.begin() + i + 1, parts.end(), ".");
    if (read.kind.empty()) read.kind = std::string(parts[i - 1]);
    return read;
  }
  return std::nullopt;
}

// The part in front that all names have in common, up to and with a dot.
std::string CommonPrefix(absl::Span<const std::string> names) {
  if (names.size() < 2) return "";
  size_t common = names[0].size();
  for (const std::string& name : names) {
    const size_t most = std::min(common, name.size());
    common =
        std::mismatch(name.begin(), name.begin() + most, names[0].begin()).first - name.begin();
  }
  const size_t dot = names[0].substr(0, common).rfind('.');
  return dot == std::string::npos ? "" : names[0].substr(0, dot + 1);
}

// What tells towers of blocks ("encoder", "decoder") from each other; nothing for a single one.
std::map<std::string, std::string> TowerLabels(const std::set<std::string>& towers) {
  const std::vector<std::string> names(towers.begin(), towers.end());
  const size_t common = CommonPrefix(names).size();
  std::map<std::string, std::string> labels;
  for (const std::string& name : names) {
    labels[name] = names.size() < 2 ? "" : absl::StrCat(name.substr(common), " ");
  }
  return labels;
}

}  // namespace

std::optional<LayerGrid> FindGrid(absl::Span<const std::string> names) {
  LayerGrid grid;
  std::vector<std::pair<int, BlockName>> read;
  std::set<uint64_t> blocks;
  std::set<std::string> towers;
  for (size_t i = 0; i < names.size(); ++i) {
    std::optional<BlockName> name = ReadName(names[i]);
    if (!name) {
      grid.others.push_back(static_cast<int>(i));
      continue;
    }
    blocks.insert(name->block);
    towers.insert(name->before);
    read.emplace_back(static_cast<int>(i), *std::move(name));
  }
  if (blocks.size() < 2 || blocks.size() > kMostBlocks) return std::nullopt;
  if (grid.others.size() > kMostOthers || grid.others.size() > read.size()) return std::nullopt;
  grid.blocks.assign(blocks.begin(), blocks.end());
  std::map<std::string, std::string> labels = TowerLabels(towers);
  std::map<std::string, size_t> rows;
  for (const auto& [index, name] : read) {
    const std::string kind = absl::StrCat(labels[name.before], name.kind);
    const auto [row, is_new] = rows.emplace(kind, grid.kinds.size());
    if (is_new) {
      if (grid.kinds.size() == kMostKinds) return std::nullopt;
      grid.kinds.push_back(kind);
      grid.cells.emplace_back(grid.blocks.size(), -1);
    }
    const auto at = std::lower_bound(grid.blocks.begin(), grid.blocks.end(), name.block);
    int& cell = grid.cells[row->second][at - grid.blocks.begin()];
    if (cell != -1) return std::nullopt;
    cell = index;
  }
  // Most of a good grid is filled.
  if (3 * read.size() < grid.kinds.size() * grid.blocks.size()) return std::nullopt;
  return grid;
}

}  // namespace quantd::pages
