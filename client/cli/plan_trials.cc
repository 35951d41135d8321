#include "client/cli/plan_trials.h"

#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/plan_recipe.h"
#include "client/cli/text_table.h"
#include "client/files/durable_file.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

std::string ShellQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// What `command FILE` prints as its last line, as a number.
absl::StatusOr<double> LossOf(const std::string& command, const std::string& recipe) {
  const std::string line = absl::StrCat(command, " ", ShellQuoted(recipe));
  FILE* const pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) return absl::InternalError(absl::StrCat("cannot run ", line));
  std::string printed;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    printed.append(buffer, got);
  }
  const int status = pclose(pipe);
  if (WIFSIGNALED(status)) {
    return absl::InternalError(
        absl::StrCat("--loss-command: ", line, ": ended by signal ", WTERMSIG(status)));
  }
  if (status != 0) {
    return absl::InternalError(
        absl::StrCat("--loss-command: ", line, ": exit code ", WEXITSTATUS(status)));
  }
  const std::vector<absl::string_view> lines =
      absl::StrSplit(absl::StripAsciiWhitespace(printed), '\n');
  double loss = 0;
  if (absl::SimpleAtod(lines.back(), &loss) && !std::isnan(loss)) return loss;
  return absl::InternalError(absl::StrCat("--loss-command: ", line, ": its last line \"",
                                          lines.back(), "\" is not a number"));
}

// The first part of the name that is a number, and what stands before it.
std::string BlockName(const std::string& module) {
  std::string name;
  for (absl::string_view part : absl::StrSplit(module, '.')) {
    absl::StrAppend(&name, part, ".");
    int64_t number = 0;
    if (absl::SimpleAtoi(part, &number)) return name;
  }
  return module;
}

}  // namespace

std::vector<std::vector<int>> TransformerBlocks(const PlanInput& input) {
  std::map<std::string, std::vector<int>> blocks;
  for (int l = 0; l < static_cast<int>(input.layers.size()); ++l) {
    blocks[BlockName(input.layers[l].module)].push_back(l);
  }
  std::vector<std::vector<int>> sets;
  for (auto& [name, layers] : blocks) {
    if (layers.size() > 1) sets.push_back(std::move(layers));
  }
  return sets;
}

absl::StatusOr<RandomTrial> SearchAtRandom(const PlanInput& input, const PlanProblem& problem,
                                           const PlanFlags& flags, Environment* env) {
  RandomSearchOptions options;
  options.trials = flags.trials;
  options.seed = flags.seed;
  options.low_share = problem.problem.goal.low_share;
  if (flags.by_block) options.blocks = TransformerBlocks(input);
  QUANTD_ASSIGN_OR_RETURN(std::vector<RandomTrial> trials, DrawTrials(problem.problem, options));
  std::vector<double> losses;
  if (!flags.loss_command.empty()) {
    const std::string file = flags.out + ".trial";
    for (size_t t = 0; t < trials.size(); ++t) {
      if (env->stop->stopped()) return absl::CancelledError("stopped");
      QUANTD_RETURN_IF_ERROR(
          WriteDurably(file, PlanRecipe(input, problem.problem.layers, trials[t].choice,
                                        {absl::StrCat("trial ", t, " of ", trials.size())})));
      QUANTD_ASSIGN_OR_RETURN(const double loss, LossOf(flags.loss_command, file));
      losses.push_back(loss);
      *env->err << "trial " << t + 1 << " of " << trials.size() << ": Q_r "
                << ErrorNumber(trials[t].totals.low_share) << ", predicted "
                << ErrorNumber(trials[t].totals.error) << ", loss " << ErrorNumber(loss)
                << std::endl;
    }
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }
  QUANTD_ASSIGN_OR_RETURN(const int best, BestTrial(trials, losses));
  return std::move(trials[best]);
}

}  // namespace quantd::cli
