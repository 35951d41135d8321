// The table parser on arbitrary text: no crash, and whatever it accepts keeps its promises.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "client/files/csv_table.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckRefused(const absl::Status& status) {
  Require(status.code() == absl::StatusCode::kInvalidArgument);
  Require(absl::StartsWith(status.message(), "input:"));
}

// Neither blanks around it nor what would have cut it.
void CheckCell(absl::string_view cell) {
  Require(cell.find_first_of(",\n") == absl::string_view::npos);
  if (cell.empty()) return;
  Require(cell.front() != ' ' && cell.back() != ' ' && cell.back() != '\r');
}

void CheckNumbers(const quantd::CsvTable& table, size_t row) {
  for (size_t c = 0; c < table.columns.size(); ++c) {
    const auto number = quantd::NumberAt(table, row, static_cast<int>(c), "input");
    if (number.ok()) {
      Require(std::isfinite(*number));
    } else {
      CheckRefused(number.status());
    }
  }
}

void CheckTable(const quantd::CsvTable& table, absl::string_view text) {
  Require(!table.columns.empty());
  std::set<std::string> names;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    Require(!table.columns[c].empty());
    CheckCell(table.columns[c]);
    Require(names.insert(table.columns[c]).second);
    Require(table.Column(table.columns[c]) == static_cast<int>(c));
  }
  Require(table.Column("no, such column") == -1);
  Require(table.lines.size() == table.rows.size());
  int line = 0;
  for (size_t r = 0; r < table.rows.size(); ++r) {
    Require(table.rows[r].size() == table.columns.size());
    for (const std::string& cell : table.rows[r]) CheckCell(cell);
    Require(table.lines[r] > line);
    line = table.lines[r];
    CheckNumbers(table, r);
  }
  Require(static_cast<size_t>(line) <= text.size() + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto table = quantd::ParseCsv(text, "input");
  if (table.ok()) {
    CheckTable(*table, text);
  } else {
    CheckRefused(table.status());
  }
  return 0;
}
