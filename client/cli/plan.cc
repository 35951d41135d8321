#include "client/cli/plan.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_codes.h"
#include "client/cli/frontier.h"
#include "client/cli/job_runs.h"
#include "client/cli/measure_run.h"
#include "client/cli/plan_input.h"
#include "client/cli/plan_law.h"
#include "client/cli/plan_problem.h"
#include "client/cli/plan_recipe.h"
#include "client/cli/plan_report.h"
#include "client/cli/plan_trials.h"
#include "client/cli/text_table.h"
#include "client/files/durable_file.h"
#include "client/pages/plan_page.h"
#include "workers/core/status_macros.h"
#include "workers/planner/allocation.h"

namespace quantd::cli {
namespace {

namespace fs = std::filesystem;

std::string FrontierPath(const PlanFlags& flags) {
  if (!flags.frontier.empty()) return flags.frontier;
  fs::path path = flags.out;
  return path.replace_extension(".frontier.jsonl").string();
}

class PlanRun {
 public:
  PlanRun(const PlanFlags& flags, Environment* env) : flags_(flags), env_(env) {}

  absl::Status Run() {
    QUANTD_RETURN_IF_ERROR(CheckPaths());
    QUANTD_ASSIGN_OR_RETURN(law_, LoadLaw(flags_));
    QUANTD_ASSIGN_OR_RETURN(input_, MakePlanInput(flags_, *env_->stop));
    for (const std::string& warning : input_->warnings) Warn(warning);
    QUANTD_RETURN_IF_ERROR(AskTheLaw());
    QUANTD_ASSIGN_OR_RETURN(const PlanWishes wishes, ReadWishes(*input_, flags_));
    for (const std::string& note : wishes.notes) Warn(note);
    QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<FrontierFile> file,
                            FrontierFile::Open(FrontierPath(flags_)));
    measuring_ = true;
    QUANTD_ASSIGN_OR_RETURN(frontiers_, MeasureFrontiers(*input_, flags_, file.get(), env_));
    measuring_ = false;
    QUANTD_ASSIGN_OR_RETURN(problem_, MakePlanProblem(*input_, wishes, frontiers_));
    for (const std::string& note : problem_.notes) Warn(note);
    QUANTD_RETURN_IF_ERROR(Choose());
    return Write();
  }

  bool measuring() const { return measuring_; }

 private:
  void Warn(const std::string& warning) const { *env_->err << "warning: " << warning << "\n"; }

  // What cannot be written, or would be written over something that is needed, should be known
  // before the measurements.
  absl::Status CheckPaths() const {
    std::error_code error;
    const fs::path model = fs::weakly_canonical(flags_.model_dir, error);
    std::map<fs::path, std::string> taken;
    for (const auto& [flag, path] : {std::pair("--statistics", flags_.statistics),
                                     std::pair("--sensitivity", flags_.sensitivity),
                                     std::pair("--profiles", flags_.profiles)}) {
      if (!path.empty()) taken[fs::weakly_canonical(fs::absolute(path), error)] = flag;
    }
    for (const auto& [flag, text] :
         {std::pair("-o", flags_.out), std::pair("--html", flags_.html),
          std::pair("--report", flags_.report), std::pair("--frontier", FrontierPath(flags_))}) {
      if (text.empty()) continue;
      const auto refuse = [&](absl::string_view why) {
        return absl::InvalidArgumentError(absl::StrCat(flag, ": \"", text, "\" ", why));
      };
      const fs::path path = fs::weakly_canonical(fs::absolute(text), error);
      if (!fs::is_directory(path.parent_path(), error) || fs::is_directory(path, error)) {
        return refuse("is no file in a folder that is there");
      }
      const auto [part, end] = std::mismatch(model.begin(), model.end(), path.begin(), path.end());
      if (part == model.end()) return refuse("lies in the model's folder, which is left as it is");
      const auto [it, fresh] = taken.emplace(path, flag);
      if (!fresh) return refuse(absl::StrCat("is the file of ", it->second, ", too"));
    }
    return absl::OkStatus();
  }

  // A loss becomes a share in low precision.
  absl::Status AskTheLaw() {
    if (!flags_.max_loss) return absl::OkStatus();
    std::vector<std::string> warnings;
    QUANTD_ASSIGN_OR_RETURN(flags_.low_share, LowShareWithin(*input_, flags_, law_, &warnings));
    for (const std::string& warning : warnings) Warn(warning);
    *env_->err << "law " << flags_.law << ": at most " << absl::StrFormat("%.4g", *flags_.low_share)
               << " of the weights in low precision\n";
    return absl::OkStatus();
  }

  absl::Status Choose() {
    result_ = {&flags_, input_.get(), &problem_, &law_, Plan()};
    QUANTD_ASSIGN_OR_RETURN(result_.plan, Allocate(problem_.problem));
    if (flags_.trials == 0) return CheckQuantizes();
    QUANTD_ASSIGN_OR_RETURN(RandomTrial trial, SearchAtRandom(*input_, problem_, flags_, env_));
    result_.plan.choice = std::move(trial.choice);
    result_.plan.totals = trial.totals;
    return CheckQuantizes();
  }

  absl::Status CheckQuantizes() const {
    for (size_t l = 0; l < result_.plan.choice.size(); ++l) {
      if (result_.option(l).candidate != kDense) return absl::OkStatus();
    }
    return absl::OutOfRangeError(
        absl::StrCat(problem_.goal, ": every layer stays as it is then (",
                     absl::StrFormat("%.4g", result_.plan.totals.bits_per_weight),
                     " bits a weight), and there is nothing to quantize"));
  }

  std::vector<std::string> Comment() const {
    const PlanTotals& totals = result_.plan.totals;
    return {
        absl::StrFormat("A plan by quantctl %s for %s: %.4f bits a weight, error %.4g (%s),",
                        QUANTD_VERSION, problem_.goal, totals.bits_per_weight, totals.error,
                        problem_.error_of),
        absl::StrFormat("Q_r %.4g, Q_b %.4g, %s for the whole model.", totals.low_share,
                        totals.block, HumanBytes(result_.model_bytes())),
        absl::StrCat("quantctl quantize MODEL -o OUT --recipe ",
                     fs::path(flags_.out).filename().string(),
                     input_->statistics != nullptr ? " --statistics FILE" : ""),
    };
  }

  absl::Status Write() const {
    QUANTD_RETURN_IF_ERROR(WriteDurably(
        flags_.out, PlanRecipe(*input_, problem_.problem.layers, result_.plan.choice, Comment())));
    *env_->out << PlanText(result_) << "recipe   " << flags_.out << "\n";
    if (!flags_.report.empty()) {
      QUANTD_RETURN_IF_ERROR(WriteDurably(flags_.report, PlanToJson(result_).dump(2) + "\n"));
      *env_->out << "report   " << flags_.report << "\n";
    }
    if (flags_.html.empty()) return absl::OkStatus();
    QUANTD_ASSIGN_OR_RETURN(const PlanPage page, MakePlanPage(result_));
    QUANTD_RETURN_IF_ERROR(WriteDurably(flags_.html, RenderPlanPage(page)));
    *env_->out << "page     " << flags_.html << "\n";
    return absl::OkStatus();
  }

  PlanFlags flags_;
  Environment* env_;
  LawProfile law_;
  std::unique_ptr<PlanInput> input_;
  std::map<std::string, LayerFrontier> frontiers_;
  PlanProblem problem_;
  PlanResult result_;
  bool measuring_ = false;
};

}  // namespace

int RunPlan(const PlanFlags& flags, Environment* env) {
  PlanRun run(flags, env);
  const absl::Status status = run.Run();
  if (status.ok()) return kExitOk;
  const bool stopped = env->stop->stopped();
  if (stopped) {
    *env->err << "interrupted\n";
  } else {
    Fail(status, env);
  }
  if (run.measuring()) {
    *env->err << "what was measured is safe in " << FrontierPath(flags)
              << "; the same command goes on from there\n";
  }
  return stopped ? kExitInterrupted : ExitCodeFor(status);
}

}  // namespace quantd::cli
