#include "client/pages/document.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/pages/format.h"
#include "client/pages/style.h"

namespace quantd::pages {

std::string Document(absl::string_view title, absl::string_view body) {
  // The policy holds the browser to what the page promises: nothing runs, nothing is fetched.
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>",
      Escape(title), "</title>\n<style>\n", StyleSheet(), "</style>\n</head>\n<body>\n<main>\n",
      body, "</main>\n</body>\n</html>\n");
}

std::string Section(absl::string_view heading, absl::string_view body) {
  return absl::StrCat("<section>\n<h2>", Escape(heading), "</h2>\n", body, "</section>\n");
}

std::string Paragraph(absl::string_view text) {
  return absl::StrCat("<p>", Escape(text), "</p>\n");
}

std::string Caption(absl::string_view text) {
  return absl::StrCat("<p class=\"caption\">", Escape(text), "</p>\n");
}

std::string TwoWidths(absl::string_view wide, absl::string_view narrow) {
  return absl::StrCat("<div class=\"wide\">", wide, "</div>\n<div class=\"narrow\">", narrow,
                      "</div>\n");
}

std::string Beside(absl::string_view left, absl::string_view right) {
  return absl::StrCat("<div class=\"beside\">\n<div>", left, "</div>\n<div>", right,
                      "</div>\n</div>\n");
}

std::string Figures(absl::Span<const std::pair<std::string, std::string>> figures) {
  std::string html = "<dl class=\"figures\">\n";
  for (const auto& [number, label] : figures) {
    absl::StrAppend(&html, "<div><dt>", Escape(label), "</dt><dd>", Escape(number),
                    "</dd></div>\n");
  }
  return absl::StrCat(html, "</dl>\n");
}

std::string Facts(absl::Span<const std::pair<std::string, std::string>> facts) {
  if (facts.empty()) return "";
  std::string html = "<table class=\"facts\">\n<tbody>\n";
  for (const auto& [label, value] : facts) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", Escape(label), "</th><td>", Escape(value),
                    "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody>\n</table>\n");
}

std::string NameCell(absl::string_view name) {
  constexpr double kMost = 26;  // em
  const std::string shown = Shorten(name, kMost, 1);
  const std::string title = shown == name ? "" : absl::StrCat(" title=\"", Escape(name), "\"");
  return absl::StrCat("<span class=\"name\"", title, ">",
                      // It may be broken behind each dot.
                      absl::StrReplaceAll(Escape(shown), {{".", ".<wbr/>"}}), "</span>");
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::AddRow(absl::Span<const std::string> cells) {
  if (++rows_ > kMostRows) return;
  absl::StrAppend(&body_, "<tr>");
  for (size_t c = 0; c < cells.size(); ++c) {
    if (c == 0) {
      absl::StrAppend(&body_, "<th scope=\"row\">", cells[c], "</th>");
    } else {
      absl::StrAppend(&body_, columns_[c].number ? "<td class=\"n\">" : "<td>", cells[c], "</td>");
    }
  }
  absl::StrAppend(&body_, "</tr>\n");
}

std::string Table::Html(absl::string_view label) const {
  // A region that scrolls must be reachable by the keyboard.
  std::string html = absl::StrCat("<div class=\"scroll\" role=\"region\" tabindex=\"0\" ",
                                  "aria-label=\"", Escape(label), "\">\n<table>\n<thead><tr>");
  for (const Column& column : columns_) {
    absl::StrAppend(&html, "<th scope=\"col\"", column.number ? " class=\"n\"" : "", ">",
                    Escape(column.title), "</th>");
  }
  absl::StrAppend(&html, "</tr></thead>\n<tbody>\n", body_, "</tbody>\n</table>\n</div>\n");
  if (rows_ > kMostRows) {
    absl::StrAppend(&html, Caption(absl::StrCat("The first ", Count(kMostRows), " of ",
                                                Count(rows_), "; ", Count(rows_ - kMostRows),
                                                " are left out to keep the page small.")));
  }
  return html;
}

std::string Table::Foldable(absl::string_view label) const {
  if (rows_ <= kMostOpenRows) return Html(label);
  return absl::StrCat("<details>\n<summary>", Escape(label), " (", Count(rows_), ")</summary>\n",
                      Html(label), "</details>\n");
}

}  // namespace quantd::pages
