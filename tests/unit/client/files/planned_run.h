// A small Llama folder, selected and planned, and the packed tensors that a service would deliver.
// Column scales are folded wherever the graph allows it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/files/checkpoint.h"
#include "client/files/output_plan.h"
#include "client/files/selection.h"
#include "tests/unit/client/files/model_folder.h"
#include "workers/core/coded.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"

namespace quantd::testing {

Spec GroupSpec(int64_t group_size);
// Additive levels with one F16 scale for each out group.
Spec AdditiveSpec(int codebooks, int bits, int out_group = 1, int in_group = 8);

class PlannedRun {
 public:
  explicit PlannedRun(const std::string& layout = "compressed-tensors",
                      const Spec& spec = GroupSpec(32), const OutputOptions& options = {},
                      const SelectionOptions& selection = {});

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const OutputPlan& plan() const { return *plan_; }
  const Layout& layout() const { return *layout_; }
  const std::string& source() const { return source_.path(); }

  // Codes of module `index`, packed by the real layout, under its spec or the one that an adaptive
  // axis ended as.
  std::vector<PackedTensor> Pack(int index) const;
  std::vector<PackedTensor> Pack(int index, const Spec& outcome) const;

 private:
  TempFolder source_;
  const Layout* layout_ = nullptr;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<OutputPlan> plan_;
};

// A whole weight as a solver could have left it.
struct PatternWeight {
  std::unique_ptr<CodedShared> shared;
  Coded coded;
};

// Legal codes, parameters, tables and exceptions of an m x n weight, whatever the spec has; they
// depend on `seed`.
PatternWeight PatternCoded(const Spec& spec, int64_t m, int64_t n, uint64_t seed);

// The same after Layout::PackShared, PackRows and PackOutliers.
std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec,
                                    const PatternWeight& weight);

}  // namespace quantd::testing
