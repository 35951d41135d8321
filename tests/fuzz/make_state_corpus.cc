// Writes the seeds of the state fuzzer: states of its problems from every stage of their solves.
//
// usage: make_state_corpus FOLDER
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fuzz/state_problem.h"
#include "workers/engine/job_state.h"
#include "workers/linalg/blas.h"
#include "workers/solve/additive.h"

namespace quantd {
namespace {

class Recorder : public SilentWatch {
 public:
  bool WantsStates() override { return true; }
  bool StateDue() override { return true; }
  void OnState(std::string state) override { states.push_back(std::move(state)); }

  std::vector<std::string> states;
};

void Write(const std::string& path, uint8_t variant, const std::string& state) {
  std::ofstream out(path, std::ios::binary);
  out.put(static_cast<char>(variant));
  out << state;
}

int Main(const std::string& folder) {
  InlineExecutor executor;
  CancelToken cancel;
  if (!InitBlas().ok()) return 1;
  for (const uint8_t variant : {0, 2, 4, 8, 16}) {
    const StateProblem problem(variant);
    const Metric metric = Metric::Identity(StateProblem::kColumns);
    Recorder watch;
    const absl::StatusOr<AdditiveCode> code = SolveAdditive({.spec = &problem.spec(),
                                                             .weight = problem.weight(),
                                                             .metric = &metric,
                                                             .given = problem.given()},
                                                            executor, cancel, &watch);
    if (!code.ok()) {
      std::fprintf(stderr, "%s\n", code.status().ToString().c_str());
      return 1;
    }
    // One state of each length stands for its stage.
    size_t last = 0;
    int number = 0;
    for (const std::string& state : watch.states) {
      if (state.size() == last && &state != &watch.states.back()) continue;
      last = state.size();
      Write(absl::StrCat(folder, "/variant", variant, "-", number++), variant, state);
    }
  }
  JobState job(Digest(), 2);
  job.Set(1, "a state");
  Write(absl::StrCat(folder, "/job"), 0, job.Compose());
  return 0;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_state_corpus FOLDER\n");
    return 2;
  }
  return quantd::Main(argv[1]);
}
