// Columns of text, and numbers as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quantd::cli {

// Left-aligned where `left` says so, right-aligned elsewhere; two blanks between columns.
class TextTable {
 public:
  struct Column {
    std::string title;
    bool left = false;
  };
  explicit TextTable(std::vector<Column> columns);

  // Missing cells are empty; more cells than columns are a bug.
  void AddRow(std::vector<std::string> cells);
  // Title, a rule, the rows; every line ends with a newline and has no trailing blanks.
  std::string Text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

std::string HumanBytes(uint64_t bytes);    // "1.50 GB" (powers of 1000), "312 B"
std::string HumanSeconds(double seconds);  // "0.42 s", "3 min 05 s", "2 h 10 min"
std::string HumanCount(uint64_t count);    // "1,234,567"
std::string ErrorNumber(double value);     // four significant digits, "-" when not finite

}  // namespace quantd::cli
