#include "client/pages/outcome_list.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/pages/document.h"
#include "client/pages/format.h"

namespace quantd::pages {
namespace {

struct Note {
  std::string text;
  std::vector<std::string> layers;
};

// In the order of their first layer.
std::vector<Note> NotesOf(const QuantizePage& page) {
  std::vector<Note> notes;
  std::map<std::string, size_t> known;
  const auto add = [&](const std::string& text, const std::string& layer) {
    const auto [at, is_new] = known.emplace(text, notes.size());
    if (is_new) notes.push_back({text, {}});
    notes[at->second].layers.push_back(layer);
  };
  for (const QuantizePageLayer& layer : page.layers) {
    for (const std::string& note : layer.report.notes) add(note, layer.report.name);
    if (!layer.folded_into.empty()) {
      add("column scale folded into a norm, named in the table of layers", layer.report.name);
    }
  }
  return notes;
}

std::string NamesCell(absl::Span<const std::string> names) {
  constexpr size_t kMostNames = 3;
  std::string html;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) {
    absl::StrAppend(&html, i == 0 ? "" : ", ", NameCell(names[i]));
  }
  if (names.size() > kMostNames) {
    absl::StrAppend(&html, " and ", Counted(names.size() - kMostNames, "other"));
  }
  return html;
}

std::string TroubleTable(const QuantizePage& page) {
  Table table({{"Layer"}, {"Outcome"}, {"Reason"}});
  for (const Outcome outcome : {Outcome::kRejected, Outcome::kDegraded}) {
    for (const QuantizePageLayer& layer : page.layers) {
      if (layer.report.outcome != outcome) continue;
      table.AddRow({NameCell(layer.report.name), OutcomeCell(outcome),
                    layer.report.reason.empty() ? "–" : Escape(layer.report.reason)});
    }
  }
  return table.rows() == 0 ? Paragraph("Every layer ended as its spec asked.")
                           : table.Html("Layers that did not end as asked");
}

}  // namespace

std::string OutcomeCell(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "OK";
    case Outcome::kDegraded:
      return "<span class=\"poor\">◆ DEGRADED</span>";
    case Outcome::kRejected:
      return "<span class=\"bad\">✕ REJECTED</span>";
    case Outcome::kUnspecified:
      break;
  }
  return "–";
}

std::string OutcomeList(const QuantizePage& page) {
  std::string html = TroubleTable(page);
  const std::vector<Note> notes = NotesOf(page);
  if (notes.empty()) return html;
  Table table({{"Note"}, {"Layers", true}, {"Which"}});
  for (const Note& note : notes) {
    table.AddRow({Escape(note.text), Count(note.layers.size()), NamesCell(note.layers)});
  }
  return absl::StrCat(html, "<h3>Notes</h3>\n", table.Foldable("Notes"));
}

}  // namespace quantd::pages
