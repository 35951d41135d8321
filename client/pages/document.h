// The skeleton that all pages share: head, style sheet, sections, tables.
//
// What is called HTML here is well-formed XML too; text that comes from outside has been escaped by
// the one who put it in.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd::pages {

// Rows of a table beyond this many are left out, with a word.
inline constexpr size_t kMostRows = 2000;
// Tables with more rows than this are folded up.
inline constexpr size_t kMostOpenRows = 60;

// The whole document. `title` is plain text, `body` is HTML.
std::string Document(absl::string_view title, absl::string_view body);

// `heading` is plain text, `body` is HTML.
std::string Section(absl::string_view heading, absl::string_view body);
std::string Paragraph(absl::string_view text);  // plain text
std::string Caption(absl::string_view text);    // plain text: how to read what follows

// A drawing in two widths, of which the style sheet shows the one that fits. Both are SVG.
std::string TwoWidths(absl::string_view wide, absl::string_view narrow);
// Two blocks of HTML, beside each other where there is room.
std::string Beside(absl::string_view left, absl::string_view right);

// Large numbers with what they are: (number, label), plain text.
std::string Figures(absl::Span<const std::pair<std::string, std::string>> figures);
// The table of facts: (label, value), plain text; "" for none.
std::string Facts(absl::Span<const std::pair<std::string, std::string>> facts);

// A layer's name as HTML; what is too long is shortened, with the whole name as its title.
std::string NameCell(absl::string_view name);

// A table; the first cell of each row is its header.
class Table {
 public:
  struct Column {
    std::string title;
    bool number = false;  // right-aligned
  };
  explicit Table(std::vector<Column> columns);

  // Cells are HTML. Rows beyond kMostRows are counted only.
  void AddRow(absl::Span<const std::string> cells);
  size_t rows() const { return rows_; }
  // `label` (plain text) names the table for those who cannot see it.
  std::string Html(absl::string_view label) const;
  // The same, folded up behind "`label` (N rows)" when there are more than kMostOpenRows.
  std::string Foldable(absl::string_view label) const;

 private:
  std::vector<Column> columns_;
  std::string body_;
  size_t rows_ = 0;
};

}  // namespace quantd::pages
