// A table of text: comma-separated values with a line of column names.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

// Cells are stripped of blanks around them; quotes have no meaning. Lines that are empty or begin
// with '#' are skipped.
struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // as many cells as columns
  std::vector<int> lines;                      // by row: its line in the file, from 1

  // -1: there is no such column.
  int Column(absl::string_view name) const;
};

// INVALID_ARGUMENT "FILE:LINE: what is wrong" for a text without columns, a column name twice, a
// line with more or fewer cells.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view text, absl::string_view file);

// ParseCsv of a file's content, at most 64 MiB; NOT_FOUND and the like with the path.
absl::StatusOr<CsvTable> ReadCsv(const std::string& path);

// The cell as a number; INVALID_ARGUMENT "FILE:LINE: COLUMN: ..." for anything else.
absl::StatusOr<double> NumberAt(const CsvTable& table, size_t row, int column,
                                absl::string_view file);

}  // namespace quantd
