// How a solve that takes minutes tells where it is, and is taken up again where it was left.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// One weight's solve under way. Called from one thread at a time.
class SolveWatch {
 public:
  virtual ~SolveWatch() = default;

  // After each round of the alternation: tr(D H D^T) / tr(W H W^T) so far.
  virtual void OnRound(int round, double relative_loss) = 0;
  // `fraction` of the whole solve in [0, 1], never falling; called at least once a second of work.
  virtual void OnFraction(double fraction) = 0;

  // False where nobody ever takes a state: none need be made.
  virtual bool WantsStates() { return true; }
  // True if the state should be given to OnState() at the next step's end. Cheap.
  virtual bool StateDue() = 0;
  // An opaque state; a solve of the same weight under the same spec that starts from it ends in the
  // same bytes as this one.
  virtual void OnState(std::string state) = 0;
};

// For callers that do not care.
class SilentWatch : public SolveWatch {
 public:
  void OnRound(int, double) override {}
  void OnFraction(double) override {}
  bool WantsStates() override { return false; }
  bool StateDue() override { return false; }
  void OnState(std::string) override {}
};

}  // namespace quantd
