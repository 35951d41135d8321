// Adam (arXiv 1412.6980) with bias correction, as AQLM trains codebooks and scales.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "workers/core/spec.h"
#include "workers/core/state_bytes.h"

namespace quantd {

// The moments of an array of numbers. kPaper: betas 0.9 and 0.95. kCode: 0 and 0.95, divided by the
// largest second moment so far (amsgrad, arXiv 1904.09237).
class AdamMoments {
 public:
  AdamMoments() = default;
  AdamMoments(AdamRule rule, int64_t numbers);

  // values -= rate * corrected first moment / (sqrt(corrected second moment) + 1e-8), after the
  // moments took in `factor` * gradient. Numbers whose gradient is exactly 0 are not part of the
  // problem: they and their moments stay. Both arrays have `numbers`.
  void Step(double rate, double factor, const std::vector<double>& gradient,
            std::vector<float>* values);

  // Forgets everything.
  void Clear();

  void Save(StateWriter* out) const;
  absl::Status Load(StateReader* in);

  static uint64_t Bytes(AdamRule rule, int64_t numbers);

 private:
  AdamRule rule_ = AdamRule::kPaper;
  uint64_t numbers_ = 0;
  double first_power_ = 1;   // beta_1 to the number of steps
  double second_power_ = 1;  // beta_2 to it
  std::vector<float> first_;
  std::vector<float> second_;
  std::vector<float> largest_;  // kCode only
};

}  // namespace quantd
