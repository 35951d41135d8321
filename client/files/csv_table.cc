#include "client/files/csv_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/files/checkpoint.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{64} << 20;

std::vector<std::string> Cells(absl::string_view line) {
  std::vector<std::string> cells;
  for (absl::string_view cell : absl::StrSplit(line, ',')) {
    cells.emplace_back(absl::StripAsciiWhitespace(cell));
  }
  return cells;
}

absl::Status Wrong(absl::string_view file, int line, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ":", line, ": ", what));
}

}  // namespace

int CsvTable::Column(absl::string_view name) const {
  const auto it = std::find(columns.begin(), columns.end(), name);
  return it == columns.end() ? -1 : static_cast<int>(it - columns.begin());
}

absl::StatusOr<CsvTable> ParseCsv(absl::string_view text, absl::string_view file) {
  CsvTable table;
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");  // a byte-order mark, as spreadsheets write it
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    std::vector<std::string> cells = Cells(line);
    if (table.columns.empty()) {
      for (size_t i = 0; i < cells.size(); ++i) {
        if (cells[i].empty()) return Wrong(file, number, "a column has no name");
        if (std::count(cells.begin(), cells.end(), cells[i]) > 1) {
          return Wrong(file, number, absl::StrCat("column \"", cells[i], "\" stands here twice"));
        }
      }
      table.columns = std::move(cells);
      continue;
    }
    if (cells.size() != table.columns.size()) {
      return Wrong(file, number,
                   absl::StrCat(cells.size(), " cells under ", table.columns.size(), " columns"));
    }
    table.rows.push_back(std::move(cells));
    table.lines.push_back(number);
  }
  if (table.columns.empty()) return Wrong(file, 1, "there is no line of column names");
  return table;
}

absl::StatusOr<CsvTable> ReadCsv(const std::string& path) {
  QUANTD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxBytes));
  return ParseCsv(text, path);
}

absl::StatusOr<double> NumberAt(const CsvTable& table, size_t row, int column,
                                absl::string_view file) {
  double value = 0;
  const std::string& cell = table.rows[row][column];
  if (absl::SimpleAtod(cell, &value) && std::isfinite(value)) return value;
  return Wrong(file, table.lines[row],
               absl::StrCat(table.columns[column], ": \"", cell, "\" is not a number"));
}

}  // namespace quantd
