// A small Llama folder, selected and planned, and the packed tensors that a service would deliver.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/files/checkpoint.h"
#include "client/files/output_plan.h"
#include "client/files/selection.h"
#include "tests/unit/client/files/model_folder.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"

namespace quantd::testing {

Spec GroupSpec(int64_t group_size);

class PlannedRun {
 public:
  explicit PlannedRun(const std::string& layout = "compressed-tensors",
                      const Spec& spec = GroupSpec(32), const OutputOptions& options = {},
                      const SelectionOptions& selection = {});

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const OutputPlan& plan() const { return *plan_; }
  const Layout& layout() const { return *layout_; }
  const std::string& source() const { return source_.path(); }

  // Round-to-nearest codes of module `index`, packed by the real layout.
  std::vector<PackedTensor> Pack(int index) const;

 private:
  TempFolder source_;
  const Layout* layout_ = nullptr;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<OutputPlan> plan_;
};

// Legal codes, scales and zeros that depend on `seed`, for rows of an m x n weight.
Coded PatternCoded(const Spec& spec, int64_t m, int64_t n, uint64_t seed);

// The same after Layout::PackShared and PackRows.
std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec, const Coded& coded);

}  // namespace quantd::testing
