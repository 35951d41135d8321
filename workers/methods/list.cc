#include <string>

#include "absl/strings/str_cat.h"
#include "workers/methods/adadim.h"
#include "workers/methods/aqlm.h"
#include "workers/methods/awq.h"
#include "workers/methods/bitsandbytes.h"
#include "workers/methods/claq.h"
#include "workers/methods/fineq.h"
#include "workers/methods/fp8.h"
#include "workers/methods/gptaq.h"
#include "workers/methods/gptq.h"
#include "workers/methods/gptqt.h"
#include "workers/methods/gwq.h"
#include "workers/methods/hqq.h"
#include "workers/methods/kmeans.h"
#include "workers/methods/method.h"
#include "workers/methods/mixquant.h"
#include "workers/methods/mx.h"
#include "workers/methods/nvfp4.h"
#include "workers/methods/owq.h"
#include "workers/methods/qep.h"
#include "workers/methods/quarot.h"
#include "workers/methods/rtn.h"
#include "workers/methods/smoothquant.h"
#include "workers/methods/sparsegpt.h"
#include "workers/methods/spqr.h"
#include "workers/methods/squeezellm.h"
#include "workers/methods/wkv.h"

namespace quantd {

absl::Span<const Method* const> AllMethods() {
  static const Method* const methods[] = {
      &Rtn(),        &Gptq(),   &AdadimRtn(), &AdadimGptq(), &Awq(),         &Hqq(), &KMeans(),
      &SqueezeLlm(), &Spqr(),   &Claq(),      &Gptqt(),      &Owq(),         &Gwq(), &SparseGpt(),
      &QuaRot(),     &Rsq(),    &Qep(),       &Gptaq(),      &SmoothQuant(), &Fp8(), &MxFp4(),
      &MxFp8(),      &MxInt8(), &MxInt4(),    &NvFp4(),      &Nf4(),         &Fp4(), &FineQ(),
      &MixQuant(),   &Wkv(),    &Aqlm(),
  };
  return methods;
}

absl::StatusOr<const Method*> FindMethod(absl::string_view name) {
  std::string known;
  for (const Method* m : AllMethods()) {
    if (m->name == name) return m;
    absl::StrAppend(&known, known.empty() ? "" : ", ", m->name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("spec.method: '", name, "' is not one of ", known));
}

}  // namespace quantd
