#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/pack/aqlm.h"
#include "workers/pack/bitsandbytes.h"
#include "workers/pack/compressed_tensors.h"
#include "workers/pack/float_quantized.h"
#include "workers/pack/gptq.h"
#include "workers/pack/int_quantized.h"
#include "workers/pack/layout.h"
#include "workers/pack/mxfp.h"
#include "workers/pack/nvfp4.h"
#include "workers/pack/plain.h"
#include "workers/pack/spqr.h"

namespace quantd {

absl::Span<const Layout* const> AllLayouts() {
  // Never destroyed: jobs may still run while the process exits.
  static const Layout* const kLayouts[] = {
      new CompressedTensorsLayout,
      new IntQuantizedLayout,
      new FloatQuantizedLayout,
      new NvFp4Layout,
      new MxFpLayout(MxFpLayout::Element::kFp4),
      new MxFpLayout(MxFpLayout::Element::kFp8),
      new GptqLayout(GptqLayout::Version::kV1),
      new GptqLayout(GptqLayout::Version::kV2),
      new BitsAndBytesLayout,
      new SpqrLayout,
      new AqlmLayout,
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
