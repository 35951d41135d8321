#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/pack/compressed_tensors.h"
#include "workers/pack/gptq.h"
#include "workers/pack/layout.h"
#include "workers/pack/plain.h"

namespace quantd {

absl::Span<const Layout* const> AllLayouts() {
  // Never destroyed: jobs may still run while the process exits.
  static const Layout* const kLayouts[] = {
      new CompressedTensorsLayout,
      new GptqLayout(GptqLayout::Version::kV1),
      new GptqLayout(GptqLayout::Version::kV2),
      new PlainLayout,
  };
  return kLayouts;
}

absl::StatusOr<const Layout*> FindLayout(absl::string_view name) {
  for (const Layout* layout : AllLayouts()) {
    if (layout->name() == name) return layout;
  }
  return absl::NotFoundError(
      absl::StrCat("no layout '", name, "'; known are ",
                   absl::StrJoin(AllLayouts(), ", ", [](std::string* out, const Layout* layout) {
                     absl::StrAppend(out, layout->name());
                   })));
}

}  // namespace quantd
