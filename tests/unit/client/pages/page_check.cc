#include "tests/unit/client/pages/page_check.h"

#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/pages/format.h"

namespace quantd::pages {
namespace {

class Reader {
 public:
  explicit Reader(absl::string_view html) : html_(html) {}

  ParsedPage Read() {
    constexpr absl::string_view kDoctype = "<!DOCTYPE html>\n";
    if (absl::StartsWith(html_, kDoctype)) at_ = kDoctype.size();
    while (at_ < html_.size() && page_.error.empty()) {
      html_[at_] == '<' ? ReadTag() : ReadText();
    }
    if (page_.error.empty() && !open_.empty()) {
      Fail(absl::StrCat("not closed: ", page_.elements[open_.back()].name));
    }
    return std::move(page_);
  }

 private:
  void Fail(absl::string_view why) {
    if (page_.error.empty()) {
      page_.error = absl::StrCat(why, " at ", at_, ": ", html_.substr(at_, 60));
    }
  }

  bool Eat(absl::string_view token) {
    if (!absl::StartsWith(html_.substr(at_), token)) return false;
    at_ += token.size();
    return true;
  }

  std::string Name() {
    const size_t start = at_;
    while (at_ < html_.size() && (absl::ascii_isalnum(html_[at_]) || html_[at_] == '-')) ++at_;
    if (at_ == start) Fail("no name");
    return std::string(html_.substr(start, at_ - start));
  }

  void Blanks() {
    while (at_ < html_.size() && absl::ascii_isspace(html_[at_])) ++at_;
  }

  // Up to `end`, entities replaced.
  std::string Characters(char end) {
    std::string text;
    while (at_ < html_.size() && html_[at_] != end && page_.error.empty()) {
      const unsigned char c = html_[at_];
      if (c == '&') {
        text += Entity();
        continue;
      }
      if (c == '<') Fail("bare <");
      if (c < 0x20 && c != '\n' && c != '\t' && c != '\r') Fail("control character");
      text.push_back(html_[at_++]);
    }
    return text;
  }

  std::string Entity() {
    constexpr std::pair<absl::string_view, char> kKnown[] = {
        {"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&#39;", '\''}};
    for (const auto& [name, character] : kKnown) {
      if (Eat(name)) return std::string(1, character);
    }
    Fail("unknown entity");
    return "";
  }

  void ReadText() {
    const std::string text = Characters('<');
    if (open_.empty() && text.find_first_not_of(" \n") != std::string::npos) Fail("stray text");
    for (const int element : open_) page_.elements[element].text += text;
  }

  void ReadTag() {
    ++at_;
    if (Eat("/")) {
      const std::string name = Name();
      if (open_.empty() || page_.elements[open_.back()].name != name) {
        return Fail(absl::StrCat("does not close what is open: ", name));
      }
      open_.pop_back();
      if (!Eat(">")) Fail("end tag goes on");
      return;
    }
    Element element;
    element.name = Name();
    element.parent = open_.empty() ? -1 : open_.back();
    ReadAttributes(&element);
    const bool closed = Eat("/");
    if (!Eat(">")) return Fail("start tag does not end");
    page_.elements.push_back(std::move(element));
    if (!closed) open_.push_back(static_cast<int>(page_.elements.size()) - 1);
  }

  void ReadAttributes(Element* element) {
    while (page_.error.empty()) {
      const size_t before = at_;
      Blanks();
      if (at_ == html_.size() || html_[at_] == '>' || html_[at_] == '/') return;
      if (at_ == before) return Fail("attributes not apart");
      const std::string key = Name();
      if (!Eat("=\"")) return Fail("attribute without a quoted value");
      if (!element->attributes.emplace(key, Characters('"')).second) Fail("attribute twice");
      if (!Eat("\"")) Fail("value does not end");
    }
  }

  absl::string_view html_;
  size_t at_ = 0;
  std::vector<int> open_;
  ParsedPage page_;
};

// All of `text` that may be separators left out; a NaN for each part that is no finite number.
std::vector<double> Numbers(absl::string_view text) {
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(text, absl::ByAnyChar(" ,MLZ"))) {
    if (part.empty()) continue;
    const std::string copy(part);
    char* end = nullptr;
    const double value = std::strtod(copy.c_str(), &end);
    numbers.push_back(*end == '\0' && std::isfinite(value) ? value : NAN);
  }
  return numbers;
}

struct Extent {
  double left = 0, top = 0, right = 0, bottom = 0;
};

// Of an estimated width: fonts differ.
Extent TextExtent(const Element& element, double x, double y) {
  const double size = element.HasClass("small") ? 9.5 : element.HasClass("big") ? 12.5 : 11;
  const double width = TextWidth(element.text, size);
  const double left = element.HasClass("e") ? x - width : element.HasClass("m") ? x - width / 2 : x;
  return {left, y - size * 0.75, left + width, y + 3};
}

std::vector<Extent> ExtentsOf(const Element& element) {
  const auto number = [&](const char* key) {
    const std::vector<double> numbers = Numbers(element.Attribute(key));
    return numbers.size() == 1 ? numbers[0] : NAN;
  };
  if (element.name == "rect") {
    const double x = number("x"), y = number("y");
    return {{x, y, x + number("width"), y + number("height")}};
  }
  if (element.name == "circle") {
    const double x = number("cx"), y = number("cy"), r = number("r");
    return {{x - r, y - r, x + r, y + r}};
  }
  if (element.name == "line") {
    return {{number("x1"), number("y1"), number("x1"), number("y1")},
            {number("x2"), number("y2"), number("x2"), number("y2")}};
  }
  if (element.name == "text") return {TextExtent(element, number("x"), number("y"))};
  std::vector<Extent> points;
  if (element.name == "polyline" || element.name == "path") {
    const std::vector<double> numbers =
        Numbers(element.Attribute(element.name == "path" ? "d" : "points"));
    for (size_t i = 0; i + 1 < numbers.size(); i += 2) {
      points.push_back({numbers[i], numbers[i + 1], numbers[i], numbers[i + 1]});
    }
    if (numbers.size() % 2 != 0) points.push_back({NAN, NAN, NAN, NAN});
  }
  return points;
}

const Element* DrawingOf(const ParsedPage& page, const Element& element) {
  for (int at = element.parent; at >= 0; at = page.elements[at].parent) {
    if (page.elements[at].name == "svg") return &page.elements[at];
  }
  return nullptr;
}

std::vector<std::string> OutOfDrawings(const ParsedPage& page) {
  std::vector<std::string> found;
  for (const Element& element : page.elements) {
    const Element* svg = DrawingOf(page, element);
    if (svg == nullptr) continue;
    const std::vector<double> box = Numbers(svg->Attribute("viewBox"));
    if (box.size() != 4) {
      found.push_back("drawing without a viewBox");
      continue;
    }
    constexpr double kSlack = 0.11;  // coordinates are rounded to tenths
    for (const Extent& extent : ExtentsOf(element)) {
      const bool inside = extent.left >= -kSlack && extent.top >= -kSlack &&
                          extent.right <= box[2] + kSlack && extent.bottom <= box[3] + kSlack &&
                          extent.right >= extent.left && extent.bottom >= extent.top;
      if (inside) continue;
      found.push_back(absl::StrCat(element.name, " \"", element.text, "\" ", extent.left, " ",
                                   extent.top, " ", extent.right, " ", extent.bottom,
                                   " outside of ", svg->Attribute("viewBox"), " ",
                                   svg->Attribute("aria-label")));
    }
  }
  return found;
}

std::vector<std::string> Outside(const ParsedPage& page) {
  std::vector<std::string> found;
  for (const Element& element : page.elements) {
    for (const char* forbidden : {"script", "iframe", "img", "link", "object", "use", "a"}) {
      if (element.name == forbidden) found.push_back(absl::StrCat("element ", forbidden));
    }
    for (const auto& [key, value] : element.attributes) {
      if (key == "src" || key == "href" || key == "style" || absl::StartsWith(key, "on")) {
        found.push_back(absl::StrCat("attribute ", key));
      }
    }
    if (element.name == "style" &&
        (absl::StrContains(element.text, "url(") || absl::StrContains(element.text, "@import"))) {
      found.push_back("the style sheet fetches");
    }
  }
  return found;
}

}  // namespace

std::string Element::Attribute(const std::string& key) const {
  const auto found = attributes.find(key);
  return found == attributes.end() ? "" : found->second;
}

bool Element::HasClass(const std::string& name) const {
  for (const absl::string_view part : absl::StrSplit(Attribute("class"), ' ')) {
    if (part == name) return true;
  }
  return false;
}

std::vector<const Element*> ParsedPage::All(absl::string_view name) const {
  std::vector<const Element*> found;
  for (const Element& element : elements) {
    if (element.name == name) found.push_back(&element);
  }
  return found;
}

ParsedPage ParsePage(absl::string_view html) { return Reader(html).Read(); }

std::vector<std::string> Complaints(absl::string_view html) {
  const ParsedPage page = ParsePage(html);
  if (!page.error.empty()) return {page.error};
  std::vector<std::string> found = Outside(page);
  for (const std::string& complaint : OutOfDrawings(page)) found.push_back(complaint);
  for (const Element* svg : page.All("svg")) {
    const bool named = svg->Attribute("role") == "img" && !svg->Attribute("aria-label").empty();
    if (!named && svg->Attribute("aria-hidden") != "true") found.push_back("drawing without words");
  }
  for (const Element* cell : page.All("th")) {
    if (cell->Attribute("scope").empty()) found.push_back("header without a scope");
  }
  for (const char* word : {"nan", "inf", "-nan", "-inf"}) {
    for (const char* name : {"td", "dd", "text"}) {
      for (const Element* element : page.All(name)) {
        if (element->text == word) found.push_back(absl::StrCat("prints ", word));
      }
    }
  }
  return found;
}

}  // namespace quantd::pages
