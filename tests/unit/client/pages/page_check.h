// A strict reader of pages, for tests: what it accepts is well-formed XML.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quantd::pages {

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;  // unescaped
  std::string text;                               // unescaped, of the element and all inside it
  int parent = -1;                                // index; -1: the document

  std::string Attribute(const std::string& key) const;
  bool HasClass(const std::string& name) const;
};

struct ParsedPage {
  std::vector<Element> elements;  // in the order of their start tags
  std::string error;              // empty: well-formed

  std::vector<const Element*> All(absl::string_view name) const;
};

ParsedPage ParsePage(absl::string_view html);

// What breaks the promises of any page: not well-formed, something fetched or run, a number that is
// none, a coordinate or words outside of their drawing. Empty: nothing does.
std::vector<std::string> Complaints(absl::string_view html);

}  // namespace quantd::pages
